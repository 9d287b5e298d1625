"""The gRPC side of the guard: every call goes through `admission.guard` before its message is read."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from ..admission.guard import Guard, Places
from ..admission.open_calls import OpenCallLimit
from ..errors import DeadlinePassed, InvalidInput, MethodNotServed, ServiceError
from ..telemetry.calls import REQUEST_ID, Call, request_id
from .status import code_of, trailing_metadata

log = logging.getLogger(__name__)

HEALTH = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/"
"""Methods that need no token: a probe has none, and one that fails for want of it would end a healthy server."""

MESSAGE_SECONDS = 120.0
"""Time limit from a call's head to the end of its message, or of a stream's first one: 64 MiB at 5 Mbit/s."""

_CUT_OFF_SECONDS, _STREAM_CUT_OFF_SECONDS = 0.1, 0.005
"""Time in which gRPC reports that a call without further messages was cut off. A stream waits less: each one pays."""

_Method = TypeVar("_Method", bound=Callable)


def queued(method: _Method) -> _Method:
    """Mark a servicer's method whose every call is one job in the queue: a full queue refuses it before it is read."""
    method.is_queued = True  # type: ignore[attr-defined]
    return method


def stream(method: _Method) -> _Method:
    """Mark a servicer's method whose calls count against the limit on streams."""
    method.is_stream = True  # type: ignore[attr-defined]
    return method


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Takes every call through the guard, and ends a call whose handler raised.

    Args:
        guard: Admits calls and tells the watchers.
        probes: The limit on open calls of the health service, which the watchers do not see.
    """

    def __init__(self, guard: Guard, probes: OpenCallLimit) -> None:
        self._guard = guard
        self._probes = probes

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Return the method's handler with the guard around it (`grpc.aio.ServerInterceptor`).

        Raises:
            TypeError: The method is of a kind that the guard does not know; such a method must not be served.
        """
        handler = await continuation(handler_call_details)
        method, metadata = handler_call_details.method, tuple(handler_call_details.invocation_metadata or ())
        if handler is None:
            return handler
        call = Call(method, request_id(metadata), metadata)
        coders = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary:
            # For gRPC a unary call would be read whole before the handler runs, and a message that cannot be parsed
            # would end in UNKNOWN. On the wire a stream of one message is the same.
            return grpc.stream_unary_rpc_method_handler(self._unary(handler.unary_unary, call), *coders)
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(self._stream(handler.stream_stream, call), *coders)
        if handler.unary_stream and method.startswith(HEALTH):
            return grpc.stream_stream_rpc_method_handler(self._watch(handler.unary_stream, call), *coders)
        raise TypeError(f"{method} is of a kind that no service here has")

    def _unary(self, behavior: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> Any:
            async with self._around(call, context, behavior):
                return await behavior(await single_message(requests), context)

        return around

    def _stream(self, behavior: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
            async with self._around(call, context, behavior):
                async for response in behavior(with_first_message_deadline(requests), context):
                    yield response

        return around

    def _watch(self, behavior: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
            async with self._around(call, context, behavior):
                answers = _Answers()
                watching = asyncio.create_task(behavior(await single_message(requests), answers))
                try:
                    while True:
                        yield await answers.get()
                finally:
                    watching.cancel()

        return around

    def _admit(self, call: Call, behavior: Callable) -> Places:
        if call.method.startswith(HEALTH):
            return self._guard.take(call, [self._probes])
        is_stream, is_queued = getattr(behavior, "is_stream", False), getattr(behavior, "is_queued", False)
        return self._guard.admit(call, stream=is_stream, queued=is_queued)

    @asynccontextmanager
    async def _around(self, call: Call, context: grpc.aio.ServicerContext, behavior: Callable) -> AsyncIterator[None]:
        call.peer = _peer(context)
        left = context.time_remaining()
        call.deadline = None if left is None else time.monotonic() + left
        answer = ((REQUEST_ID, call.request_id),)
        context.set_trailing_metadata(answer)
        try:
            with self._guard.watch(call, is_probe=call.method.startswith(HEALTH)), _translated(call):
                places = self._admit(call, behavior)
                # Not at the end of the handler: the answer still has to travel.
                context.add_done_callback(lambda _: places.release())
                try:
                    yield
                finally:
                    call.code = _own_code(context)
        except ServiceError as error:
            await context.abort(code_of(error), str(error), (*trailing_metadata(error), *answer))
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            log.error("%s failed, request id %s", call.method, call.request_id, exc_info=error)
            message = f"internal error; request id {call.request_id}"
            await context.abort(grpc.StatusCode.INTERNAL, message, answer)


class _translated:  # noqa: N801 - used as a function
    """Turns what gRPC and protobuf raise into errors of the domain."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DecodeError):
            raise InvalidInput("", "the bytes of a message are not one of this method") from None
        if isinstance(error, NotImplementedError):
            raise MethodNotServed(f"{self._call.method} is not served here") from None


class _Answers(asyncio.Queue[Any]):
    """What the health service writes to in place of its caller.

    The service holds a lock while it writes, so one caller who does not read would hold up every other one, and the
    server's start and end.
    """

    async def write(self, answer: Any) -> None:
        """Queue an answer, in place of `grpc.aio.ServicerContext.write`."""
        self.put_nowait(answer)


def _own_code(context: grpc.aio.ServicerContext) -> grpc.StatusCode | None:
    """Return the code that the handler itself has set, None for none. gRPC returns it as a number."""
    code = context.code()
    return code if code is None or isinstance(code, grpc.StatusCode) else _BY_NUMBER[code]


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def _peer(context: grpc.aio.ServicerContext) -> str:
    """Return the name in the client's certificate where it has shown one, else its address."""
    names: Sequence[bytes] = context.auth_context().get("x509_common_name")
    return f"cn:{names[0].decode('utf-8', 'replace')}" if names else context.peer()


async def _first(requests: AsyncIterator) -> Any:
    """Return a call's first message, None for none. The wait is bounded: a silent call holds a place."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await anext(aiter(requests), None)
    except TimeoutError:
        raise DeadlinePassed(f"the call's message has not come within {MESSAGE_SECONDS:g} s") from None


async def single_message(requests: AsyncIterator) -> Any:
    """Return the message of a call that has one.

    Raises:
        DeadlinePassed: It has not come in time.
        InvalidInput: The call has ended without a message.
    """
    request = await _first(requests)
    if request is None:
        # A message that was cut off or too large looks like none, and gRPC ends the call itself a moment later.
        await asyncio.sleep(_CUT_OFF_SECONDS)
        raise InvalidInput("", "the call has no message")
    return request


async def with_first_message_deadline(requests: AsyncIterator) -> AsyncIterator:
    """Yield all messages of a call. Raises DeadlinePassed when the first one has not come in time."""
    first = await _first(requests)
    if first is not None:
        yield first
        async for request in requests:
            yield request
        # A caller that has gone looks like one that has nothing more to send.
        await asyncio.sleep(_STREAM_CUT_OFF_SECONDS)
