"""The gRPC side of the guard: every call goes through `admission.guard` before its message is read."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from ..admission.guard import Guard, Places
from ..admission.memory import CallMemory, Reservation
from ..admission.open_calls import OpenCallLimit
from ..errors import DeadlinePassed, InvalidInput, MethodNotServed, ServiceError
from ..telemetry.calls import REQUEST_ID, Call, request_id
from .grpc_workarounds import HealthAnswers, abandon, read_of
from .status import code_of, trailing_metadata
from .wire_scan import MessageBounds

log = logging.getLogger(__name__)

HEALTH = f"/{health_pb2.DESCRIPTOR.services_by_name['Health'].full_name}/"
"""Methods that need no token: a probe has none, and one that fails for want of it would end a healthy server."""

MESSAGE_SECONDS = 120.0
"""Time limit from a call's head to the end of its message, or of a stream's first one: 64 MiB at 5 Mbit/s."""

ANSWER_SECONDS = 120.0
"""Time limit for a caller to take an answer, or one message of a stream's. After it the call is reset."""

_MESSAGES_OF_A_STREAM = 5
"""Messages of one stream in memory: four frames at work (`stream.WIDTH`), and one that is being read."""

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
    """Takes every call through the guard, bounds what it holds in memory, and ends a call whose handler raised.

    Args:
        guard: Admits calls and tells the watchers.
        probes: The limit on open calls of the health service, which the watchers do not see.
        memory: The limit on bytes of requests and answers.
        bounds: The limits of a message's content.
        max_message_bytes: The longest message that gRPC receives.
    """

    def __init__(
        self,
        guard: Guard,
        probes: OpenCallLimit,
        memory: CallMemory,
        bounds: MessageBounds,
        max_message_bytes: int,
    ) -> None:
        self._guard = guard
        self._probes = probes
        self._memory = memory
        self._bounds = bounds
        self._max_message_bytes = max_message_bytes

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
        read = _Reader(self._bounds.checked(method, handler.request_deserializer))
        coders = read, handler.response_serializer
        if handler.unary_unary:
            # For gRPC a unary call would be read whole before the handler runs, and a message that cannot be parsed
            # would end in UNKNOWN. On the wire a stream of one message is the same.
            unary = self._unary(handler.unary_unary, call, read)
            return grpc.stream_unary_rpc_method_handler(unary, *coders)
        if handler.stream_stream:
            stream = self._stream(handler.stream_stream, call, read)
            return grpc.stream_stream_rpc_method_handler(stream, *coders)
        if handler.unary_stream and method.startswith(HEALTH):
            watch = self._watch(handler.unary_stream, call, read)
            return grpc.stream_stream_rpc_method_handler(watch, *coders)
        raise TypeError(f"{method} is of a kind that no service here has")

    def _unary(self, behavior: Callable, call: Call, read: "_Reader") -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> Any:
            async with self._around(call, context, behavior) as exchange:
                answer = await behavior(await self._single_message(exchange, requests, read), context)
            await exchange.end_if_refused(context)
            exchange.begin_sending(answer.ByteSize())
            return answer

        return around

    def _stream(self, behavior: Callable, call: Call, read: "_Reader") -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
            async with self._around(call, context, behavior) as exchange:
                exchange.reservation = self._memory.hold(call.caller, 0, exchange.end)
                async for answer in behavior(_counted(requests, read, exchange.reservation), context):
                    exchange.begin_sending(None)
                    yield answer
                    exchange.sent()
            await exchange.end_if_refused(context)

        return around

    def _watch(self, behavior: Callable, call: Call, read: "_Reader") -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
            async with self._around(call, context, behavior) as exchange:
                answers = HealthAnswers()
                request = await self._single_message(exchange, requests, read)
                watching = asyncio.create_task(behavior(request, answers))
                try:
                    async for answer in answers:
                        yield answer
                finally:
                    watching.cancel()
            await exchange.end_if_refused(context)

        return around

    async def _single_message(self, exchange: "_Exchange", requests: AsyncIterator, read: "_Reader") -> Any:
        """Return the message of a call that has one, once there is room in memory for the longest one.

        Raises:
            DeadlinePassed: It has not come in time.
            InvalidInput: The call has ended without a message, or its message breaks a bound.
        """
        async with _message_deadline():
            holder = exchange.call.caller
            exchange.reservation = await self._memory.reserve(holder, self._max_message_bytes, exchange.end)
            async with read_of(requests) as messages:
                request = await anext(messages, None)
        exchange.reservation.resize(read.size)
        if request is None:
            # A message that was cut off or too large looks like none, and gRPC ends the call itself a moment later.
            await asyncio.sleep(_CUT_OFF_SECONDS)
            raise InvalidInput("", "the call has no message")
        return request

    def _admit(self, call: Call, behavior: Callable) -> Places:
        if call.method.startswith(HEALTH):
            return self._guard.take(call, [self._probes])
        is_stream, is_queued = getattr(behavior, "is_stream", False), getattr(behavior, "is_queued", False)
        return self._guard.admit(call, stream=is_stream, queued=is_queued)

    @asynccontextmanager
    async def _around(
        self, call: Call, context: grpc.aio.ServicerContext, behavior: Callable
    ) -> AsyncIterator["_Exchange"]:
        call.peer = _peer(context)
        left = context.time_remaining()
        call.deadline = None if left is None else time.monotonic() + left
        answer = ((REQUEST_ID, call.request_id),)
        context.set_trailing_metadata(answer)
        exchange = _Exchange(call)
        try:
            with self._guard.watch(call, is_probe=call.method.startswith(HEALTH)), _translated(call):
                exchange.places = self._admit(call, behavior)
                exchange.places.on_eviction(exchange.end)
                try:
                    yield exchange
                finally:
                    call.code = _own_code(context)
        except ServiceError as error:
            exchange.refusal = code_of(error), str(error), (*trailing_metadata(error), *answer)
            # Its frames hold the request, and reference cycles would keep them until the next garbage collection.
            error.__traceback__ = error.__context__ = None
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            log.error("%s failed, request id %s", call.method, call.request_id, exc_info=error)
            exchange.refusal = grpc.StatusCode.INTERNAL, f"internal error; request id {call.request_id}", answer
            error.__traceback__ = error.__context__ = None
        if exchange.places is None:
            # The guard has refused the call, and its handler does not run.
            await exchange.end_if_refused(context)


class _Exchange:
    """What one call holds until its task is done, which is when its answer has travelled.

    It must not refer to the call's context: a call that is abandoned is freed when nothing refers to it.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.places: Places | None = None
        self.reservation: Reservation | None = None
        self.refusal: tuple[grpc.StatusCode, str, Sequence[tuple[str, str | bytes]]] | None = None
        self._is_sending = False
        self._timer: asyncio.TimerHandle | None = None
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        task.add_done_callback(self._release)

    async def end_if_refused(self, context: grpc.aio.ServicerContext) -> None:
        """Abort a call whose handler has raised. Call it outside of any except block, whose error would be kept."""
        if self.refusal is not None:
            await context.abort(*self.refusal)

    def end(self, error: ServiceError) -> None:
        """End the call, because another one needs what it holds."""
        if self._is_sending:
            log.info("%s: an answer that is not read gives way, request id %s", self.call.method, self.call.request_id)
            abandon(self._task)
        elif self.call.evicted is None:
            self.call.evicted = error
            self._task.cancel()

    def begin_sending(self, size: int | None) -> None:
        """Note that the caller has to take an answer from now on; its bytes, or None where they are not counted."""
        self._is_sending = True
        if size is not None and self.reservation is not None:
            self.reservation.resize(size)
        self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._too_late)

    def sent(self) -> None:
        """Note that the caller has taken the answer."""
        self._is_sending = False
        if self._timer is not None:
            self._timer.cancel()

    def _too_late(self) -> None:
        call = self.call
        log.warning(
            "%s: the caller has not read its answer within %g s, request id %s",
            call.method,
            ANSWER_SECONDS,
            call.request_id,
        )
        abandon(self._task)

    def _release(self, _: object) -> None:
        self.sent()
        for held in (self.places, self.reservation):
            if held is not None:
                held.release()


class _Reader:
    """A deserializer that remembers how long the last message was, in bytes on the wire."""

    def __init__(self, deserialize: Callable[[bytes], Any]) -> None:
        self._deserialize = deserialize
        self.size = 0

    def __call__(self, data: bytes) -> Any:
        self.size = len(data)
        try:
            return self._deserialize(data)
        except (ServiceError, DecodeError) as error:
            # The frames of the traceback hold the whole message.
            refused = error.with_traceback(None)
        del data
        raise refused


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


def _own_code(context: grpc.aio.ServicerContext) -> grpc.StatusCode | None:
    """Return the code that the handler itself has set, None for none. gRPC returns it as a number."""
    code = context.code()
    return code if code is None or isinstance(code, grpc.StatusCode) else _BY_NUMBER[code]


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def _peer(context: grpc.aio.ServicerContext) -> str:
    """Return the name in the client's certificate where it has shown one, else its address."""
    names: Sequence[bytes] = context.auth_context().get("x509_common_name")
    return f"cn:{names[0].decode('utf-8', 'replace')}" if names else context.peer()


@asynccontextmanager
async def _message_deadline() -> AsyncIterator[None]:
    """Bound the wait for a call's first message: a silent call holds a place."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            yield
    except TimeoutError:
        raise DeadlinePassed(f"the call's message has not come within {MESSAGE_SECONDS:g} s") from None


async def _counted(requests: AsyncIterator, read: _Reader, reservation: Reservation) -> AsyncIterator:
    """Yield all messages of a stream, and count the bytes of those that may still be in memory.

    Raises:
        DeadlinePassed: The first one has not come in time.
    """
    sizes: deque[int] = deque(maxlen=_MESSAGES_OF_A_STREAM)
    async with read_of(requests) as messages:
        async with _message_deadline():
            request = await anext(messages, None)
        while request is not None:
            sizes.append(read.size)
            reservation.resize(sum(sizes))
            yield request
            request = await anext(messages, None)
    if sizes:
        # A caller that has gone looks like one that has nothing more to send.
        await asyncio.sleep(_STREAM_CUT_OFF_SECONDS)
