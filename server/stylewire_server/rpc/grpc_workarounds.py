"""Workarounds that use internals of gRPC and prometheus_client. Each says what upstream lacks, and when to remove it.

Written for grpcio 1.85 and prometheus_client 0.26. `tests/server/rpc/test_grpc_workarounds.py` fails when an upgrade
breaks one of them. Two larger workarounds are elsewhere: `runtime/listener.py`, and the unary calls in
`interceptor.py`.
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
    """Make `abandon` work for the calls of this event loop. Call this before the server is made.

    Lacking: `grpc.aio.ServicerContext` has no `cancel`, which the synchronous one has
    (https://grpc.github.io/grpc/python/grpc.html#grpc.ServicerContext). Remove this and `abandon` when it
    has `cancel`.
    """
    loop.set_task_factory(_with_parent)


def abandon(task: "asyncio.Task[Any]") -> None:
    """Reset a call whose answer is not read, and free the answer. The caller gets Cancelled; the connection stays open.

    gRPC runs a call in two tasks: one runs the handler, and its parent waits for the end of the call. When both tasks
    have ended, nothing refers to the call, and gRPC resets it (grpc_call_unref). gRPC's accept loop refers to the first
    and the last call that it accepted, so these two may stay open longer.

    Args:
        task: The task that runs the handler: `asyncio.current_task()` in the handler.
    """
    parent = _callers.pop(task, None)
    task.cancel()
    if parent is not None and (found := parent()) is not None:
        found.cancel()


@asynccontextmanager
async def read_of(requests: AsyncIterator[Any]) -> AsyncIterator[AsyncIterator[Any]]:
    """Yield the messages of a call, and break the reference cycle between the call and gRPC's message reader.

    Lacking: `_MessageReceiver` (aio/server.pyx.pxi) refers to its own generator. So a call whose messages were not all
    read stays in memory until the garbage collector runs, and `abandon` would free nothing. Remove this when the reader
    has no such reference.
    """
    messages = aiter(requests)
    try:
        yield messages
    finally:
        await messages.aclose()  # type: ignore[attr-defined]


def is_about_this_server(record: logging.LogRecord) -> bool:
    """Return False for log records about callers that disconnect, are cut off, or send a header that is not UTF-8.

    Lacking: such calls are not errors of the server, but gRPC logs them as errors with a trace. The record about a
    header shows its value, which may be a token
    (https://github.com/grpc/grpc/blob/master/src/python/grpcio/grpc/_cython/_cygrpc/aio/server.pyx.pxi).
    Remove this when gRPC logs such calls at debug level.
    """
    if str(record.msg).startswith("Invalid encoding"):
        return False
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not (issubclass(kind, asyncio.CancelledError) or kind.__name__ == "ExecuteBatchError")


class HealthAnswers(asyncio.Queue[Any]):
    """A queue that the health service writes its answers to, in place of the caller.

    Lacking: `grpc_health.v1.health.aio.HealthServicer` holds one lock while it writes to any caller. So a caller that
    does not read blocks all other callers, and the start and end of the server
    (https://github.com/grpc/grpc/blob/master/src/python/grpcio_health_checking/grpc_health/v1/_async.py). Remove this
    when the service writes outside of its lock.
    """

    async def write(self, answer: Any) -> None:
        """Queue an answer, in place of `grpc.aio.ServicerContext.write`."""
        self.put_nowait(answer)

    def __aiter__(self) -> "HealthAnswers":
        return self

    async def __anext__(self) -> Any:
        return await self.get()


def harden_metrics_server(server: WSGIServer) -> None:
    """Bound the time of a request for metrics, and log broken requests in the format of the log.

    Lacking: `prometheus_client.start_http_server` takes neither a time limit nor an error handler
    (https://github.com/prometheus/client_python/blob/master/prometheus_client/exposition.py). Remove this when it takes
    both.
    """
    server.RequestHandlerClass.timeout = _METRICS_SECONDS  # type: ignore[attr-defined]
    server.handle_error = _log_broken_request  # type: ignore[assignment]


def _log_broken_request(request: Any, address: Any) -> None:
    log.info("a request for metrics was given up", exc_info=log.isEnabledFor(logging.DEBUG))
