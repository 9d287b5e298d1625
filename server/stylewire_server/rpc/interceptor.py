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
"""Prefix of the methods that need no token. Probes have no token, and a failed probe restarts the server."""

MESSAGE_SECONDS = 120.0
"""Time limit from the headers of a call to the end of its first message. It is enough for 64 MiB at 5 Mbit/s."""

ANSWER_SECONDS = 120.0
"""Time limit for a caller to read an answer, or one message of a stream. After it the server resets the call."""

_MESSAGES_OF_A_STREAM = 5
"""Maximum messages of one stream in memory: four frames in work (`stream.WIDTH`), and one that gRPC reads."""

_CUT_OFF_SECONDS, _STREAM_CUT_OFF_SECONDS = 0.1, 0.005
"""Time in which gRPC reports that a call was cut off. The wait is shorter for a stream, because every stream has it."""

_Method = TypeVar("_Method", bound=Callable)


def queued(method: _Method) -> _Method:
    """Mark a servicer's method whose calls are one job each.

    A full queue refuses such a call before its message is read.
    """
    method.is_queued = True  # type: ignore[attr-defined]
    return method


def stream(method: _Method) -> _Method:
    """Mark a servicer's method whose calls count against the limit on streams."""
    method.is_stream = True  # type: ignore[attr-defined]
    return method


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Passes every call to the guard, bounds its memory, and ends a call whose handler raised an error.

    Args:
        guard: Admits calls and informs the watchers.
        probes: The limit on open calls of the health service. The watchers do not see these calls.
        memory: The limit on bytes of requests and answers.
        bounds: The limits on the content of a message.
        max_message_bytes: Maximum bytes of a message that gRPC receives.
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
            TypeError: The kind of the method, such as client streaming, is not supported.
        """
        handler = await continuation(handler_call_details)
        method, metadata = handler_call_details.method, tuple(handler_call_details.invocation_metadata or ())
        if handler is None:
            return handler
        call = Call(method, request_id(metadata), metadata)
        read = _Reader(self._bounds.checked(method, handler.request_deserializer))
        coders = read, handler.response_serializer
        if handler.unary_unary:
            # gRPC would read a unary call completely before the handler runs, and would end a message that cannot be
            # parsed with UNKNOWN. A stream of one message has the same form on the wire, without these effects.
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
        """Wait until the largest possible message fits into memory, and return the only message of a call.

        Raises:
            DeadlinePassed: The message did not arrive in time.
            InvalidInput: The call ended without a message, or its message breaks a bound.
        """
        async with _message_deadline():
            holder = exchange.call.caller
            if exchange.call.method.startswith(HEALTH):
                # A share of its own: a probe must not wait for the pictures that its connection uploads.
                holder = f"probe of {holder}"
            exchange.reservation = await self._memory.reserve(holder, self._max_message_bytes, exchange.end)
            async with read_of(requests) as messages:
                request = await anext(messages, None)
        exchange.reservation.resize(read.size)
        if request is None:
            # A message that was cut off or too large looks like no message, and gRPC ends the call shortly after.
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
            # The frames of the traceback hold the request. Reference cycles would keep them until the next garbage
            # collection.
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
    """The resources that one call holds until its answer is sent and its task ends.

    An exchange must not refer to the context of the call: gRPC frees an abandoned call only if nothing refers to it.
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
        """Abort a call whose handler raised an error.

        Call this outside of any `except` block, which would keep the error.
        """
        if self.refusal is not None:
            await context.abort(*self.refusal)

    def end(self, error: ServiceError) -> None:
        """End the call, because another call needs its place or its memory."""
        if self._is_sending:
            log.info("%s: an answer that is not read gives way, request id %s", self.call.method, self.call.request_id)
            abandon(self._task)
        elif self.call.evicted is None:
            self.call.evicted = error
            self._task.cancel()

    def begin_sending(self, size: int | None) -> None:
        """Start the time limit for the caller to read an answer.

        Args:
            size: Bytes of the answer; None to keep the present reservation of memory.
        """
        self._is_sending = True
        if size is not None and self.reservation is not None:
            self.reservation.resize(size)
        self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._too_late)

    def sent(self) -> None:
        """Note that the caller has read the answer."""
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
    """A deserializer that keeps the size of the last message, in bytes on the wire."""

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
    """Turns errors of gRPC and protobuf into errors of the domain."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DecodeError):
            raise InvalidInput("", "the message is not a valid request of this method") from None
        if isinstance(error, NotImplementedError):
            raise MethodNotServed(f"{self._call.method} is not served here") from None


def _own_code(context: grpc.aio.ServicerContext) -> grpc.StatusCode | None:
    """Return the status code that the handler has set; None if it has set none. gRPC stores the code as a number."""
    code = context.code()
    return code if code is None or isinstance(code, grpc.StatusCode) else _BY_NUMBER[code]


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def _peer(context: grpc.aio.ServicerContext) -> str:
    """Return the name in the client's certificate; the client's address if it has no certificate."""
    names: Sequence[bytes] = context.auth_context().get("x509_common_name")
    return f"cn:{names[0].decode('utf-8', 'replace')}" if names else context.peer()


@asynccontextmanager
async def _message_deadline() -> AsyncIterator[None]:
    """Bound the wait for the first message of a call, because a silent call uses a place."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            yield
    except TimeoutError:
        raise DeadlinePassed(f"the call's message did not arrive within {MESSAGE_SECONDS:g} s") from None


async def _counted(requests: AsyncIterator, read: _Reader, reservation: Reservation) -> AsyncIterator:
    """Yield all messages of a stream, and reserve memory for the newest ones, which may still be in use.

    Raises:
        DeadlinePassed: The first message did not arrive in time.
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
        # A caller that has gone looks like a caller that has no more messages.
        await asyncio.sleep(_STREAM_CUT_OFF_SECONDS)
