"""Everything that depends on internals of gRPC and prometheus_client: what upstream lacks, and when each can go.

Written for grpcio 1.85 and prometheus_client 0.26. `tests/server/rpc/test_grpc_workarounds.py` fails when an upgrade
breaks one of them. Two more are elsewhere, because they are more than a patch: `runtime/listener.py`, and the unary
calls in `interceptor.py`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary, ref
from wsgiref.simple_server import WSGIServer

log = logging.getLogger(__name__)

_METRICS_SECONDS = 10.0
"""Time limit for one HTTP request for metrics; each open request holds a thread."""

_callers: "WeakKeyDictionary[asyncio.Task[Any], ref[asyncio.Task[Any]]]" = WeakKeyDictionary()


def _with_parent(loop: asyncio.AbstractEventLoop, coroutine: Any, /, **options: Any) -> Any:
    task = asyncio.Task(coroutine, loop=loop, **options)
    if getattr(coroutine, "__qualname__", "") == "_handle_exceptions" and (parent := asyncio.current_task()):
        _callers[task] = ref(parent)
    return task


def install_task_factory(loop: asyncio.AbstractEventLoop) -> None:
    """Make `abandon` work for the calls of this loop. Call it before the server is made.

    Lacking: `grpc.aio.ServicerContext` has no `cancel`, which the synchronous one has
    (https://grpc.github.io/grpc/python/grpc.html#grpc.ServicerContext). Remove this and `abandon` when it has.
    """
    loop.set_task_factory(_with_parent)


def abandon(task: "asyncio.Task[Any]") -> None:
    """Reset a call whose answer is not read, and free the answer. Its caller gets CANCELLED; its connection stays.

    gRPC runs a call in two tasks: one runs the handler, and the one that started it waits for the call's end. When
    both have gone nothing refers to the call, and gRPC resets a call that nothing refers to (grpc_call_unref).
    gRPC's accept loop refers to the calls that it accepted first and last, so those two may live longer.

    Args:
        task: The one that runs the handler: `asyncio.current_task()` in the handler.
    """
    parent = _callers.pop(task, None)
    task.cancel()
    if parent is not None and (found := parent()) is not None:
        found.cancel()


@asynccontextmanager
async def read_of(requests: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """Yield the messages of a call, and break the reference cycle between gRPC's reader of them and the call.

    Lacking: `_MessageReceiver` (aio/server.pyx.pxi) refers to its own generator, so a call whose messages were not read
    to their end lives until the garbage collector runs, and `abandon` would free nothing. Remove this when it does not.
    """
    messages = aiter(requests)
    try:
        yield messages
    finally:
        await messages.aclose()  # type: ignore[attr-defined]


def is_about_this_server(record: logging.LogRecord) -> bool:
    """Return False for the traces that gRPC logs about callers who leave, are cut off, or send what is no text.

    Lacking: such calls are no errors of the server, and the last message shows what was sent, which may be a token
    (https://github.com/grpc/grpc/blob/master/src/python/grpcio/grpc/_cython/_cygrpc/aio/server.pyx.pxi logs them all
    with `_LOGGER.exception`). Remove this when gRPC logs them at debug level.
    """
    if str(record.msg).startswith("Invalid encoding"):
        return False
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not (issubclass(kind, asyncio.CancelledError) or kind.__name__ == "ExecuteBatchError")


class HealthAnswers(asyncio.Queue[Any]):
    """What the health service writes to in place of its caller.

    Lacking: `grpc_health.v1.health.aio.HealthServicer` holds one lock while it writes to any caller, so a caller who
    does not read holds up all others, and the server's start and end
    (https://github.com/grpc/grpc/blob/master/src/python/grpcio_health_checking/grpc_health/v1/_async.py). Remove this
    when it writes outside of its lock.
    """

    async def write(self, answer: Any) -> None:
        """Queue an answer, in place of `grpc.aio.ServicerContext.write`."""
        self.put_nowait(answer)

    def __aiter__(self) -> "HealthAnswers":
        return self

    async def __anext__(self) -> Any:
        return await self.get()


def harden_metrics_server(server: WSGIServer) -> None:
    """Bound the time of a request for metrics, and log broken ones in the log's own format.

    Lacking: `prometheus_client.start_http_server` takes neither a time limit nor an error handler
    (https://github.com/prometheus/client_python/blob/master/prometheus_client/exposition.py). Remove this when it does.
    """
    server.RequestHandlerClass.timeout = _METRICS_SECONDS  # type: ignore[attr-defined]
    server.handle_error = _log_broken_request  # type: ignore[assignment]


def _log_broken_request(request: Any, address: Any) -> None:
    log.info("a request for metrics was given up", exc_info=log.isEnabledFor(logging.DEBUG))
