"""Around every call: who it is, whether it may, how it ends, and who is told of it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from ..errors import DeadlinePassed, Draining, InvalidInput, ServiceError
from ..telemetry.calls import REQUEST_ID, Call, Watcher, enter, request_id
from .open_calls import Slots
from .status import code_of, trailing_metadata
from .tokens import TokenFile, authenticate

log = logging.getLogger(__name__)

OPEN_TO_ALL = "/grpc.health.v1.Health/"
"""Probes have no token, and a probe that fails for want of one would end a healthy server."""

QUEUED = frozenset(
    {
        "/stylewire.v1.Stylizer/Stylize",
        "/stylewire.v1.Stylizer/CreateStyle",
        "/inference.GRPCInferenceService/ModelInfer",
    }
)
"""Methods whose every call is a job in the queue."""

STREAM = "/stylewire.v1.Stylizer/StylizeStream"
"""The method whose calls are counted as streams."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Asks for the token, keeps the limits, ends a call whose handler raised, and tells the watchers.

    Args:
        tokens: Who may call; None for everybody.
        calls: How many calls may be open, those that still send their message included.
        streams: How many of them may be streams.
        probes: How many calls of the health service may be open beside them.
        check_room: Raises if a caller's job would be refused whatever it is.
        watchers: Are told of every call but those of the health service.
    """

    def __init__(
        self,
        tokens: TokenFile | None,
        calls: Slots,
        streams: Slots,
        probes: Slots,
        check_room: Callable[[str], None],
        watchers: Sequence[Watcher],
    ) -> None:
        self._tokens = tokens
        self._calls = calls
        self._streams = streams
        self._probes = probes
        self._check_room = check_room
        self._watchers = watchers
        self._draining = False

    def drain(self) -> None:
        """From now on new calls are refused; those whose head has come in are seen through."""
        self._draining = True

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`.

        Raises:
            TypeError: A method of a kind that is not looked after here; nothing may be served past it.
        """
        handler = await continuation(handler_call_details)
        method, metadata = handler_call_details.method, tuple(handler_call_details.invocation_metadata or ())
        if handler is None:
            return handler
        call = Call(method, request_id(metadata), metadata)
        coders = handler.request_deserializer, handler.response_serializer
        if method.startswith(OPEN_TO_ALL):
            if handler.unary_unary:
                return grpc.stream_unary_rpc_method_handler(self._check(handler.unary_unary, call), *coders)
            return grpc.stream_stream_rpc_method_handler(self._watch(handler.unary_stream, call), *coders)
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(self._stream(handler.stream_stream, call), *coders)
        if handler.unary_unary:
            # On the wire it is the same; but here gRPC would read the whole message before it asks what is to be done
            # with it, and answer UNKNOWN to one that it cannot read.
            return grpc.stream_unary_rpc_method_handler(self._unary(handler.unary_unary, call), *coders)
        raise TypeError(f"{method} is of a kind that no service here has")

    def _unary(self, behaviour: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> Any:
            async with self._around(call, context, self._watchers, self._admit):
                if call.method in QUEUED:
                    # To read a message costs half as much as to refuse a call for good.
                    self._check_room(call.caller)
                return await behaviour(await only(requests), context)

        return around

    def _stream(self, behaviour: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
            admit = self._admit_stream if call.method == STREAM else self._admit
            async with self._around(call, context, self._watchers, admit):
                async for response in behaviour(begun_in_time(requests), context):
                    yield response

        return around

    def _check(self, behaviour: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> Any:
            async with self._around(call, context, (), self._admit_probe):
                return await behaviour(await only(requests), context)

        return around

    def _watch(self, behaviour: Callable, call: Call) -> Callable:
        async def around(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
            async with self._around(call, context, (), self._admit_probe):
                answers = _Answers()
                telling = asyncio.create_task(behaviour(await only(requests), answers))
                try:
                    while True:
                        yield await answers.get()
                finally:
                    telling.cancel()

        return around

    def _admit_probe(self, call: Call) -> Sequence[Slots]:
        return (self._probes,)

    def _admit_stream(self, call: Call) -> Sequence[Slots]:
        return *self._admit(call), self._streams

    def _admit(self, call: Call) -> Sequence[Slots]:
        call.account = authenticate(call.metadata, self._tokens)
        if self._draining:
            raise Draining("the server is shutting down; try another one")
        return (self._calls,)

    @asynccontextmanager
    async def _around(
        self,
        call: Call,
        context: grpc.aio.ServicerContext,
        watchers: Sequence[Watcher],
        admit: Callable[[Call], Sequence[Slots]],
    ) -> AsyncIterator[None]:
        """`admit` raises for a call that may not be, and has what it takes a place of."""
        call.peer = _peer(context)
        enter(call, watchers)
        for watcher in watchers:
            watcher.began(call)
        answer = ((REQUEST_ID, call.request_id),)
        context.set_trailing_metadata(answer)
        try:
            for slots in admit(call):
                slots.take()
                # Not when the handler is done: the answer still has to travel.
                context.add_done_callback(lambda _, slots=slots: slots.give_back())
            yield
            call.code = _own_code(context)
        except grpc.aio.AbortError:
            call.code = _own_code(context)
            raise
        except Exception as error:
            await _end(call, context, error, answer)
        finally:
            if call.code is not grpc.StatusCode.OK:
                # Whatever came of it here, a caller whose deadline has passed is told that.
                remaining = context.time_remaining()
                late = remaining is not None and remaining <= 0.0
                call.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else call.code or grpc.StatusCode.CANCELLED
            call.seconds = time.perf_counter() - call.started
            for watcher in watchers:
                watcher.ended(call)


class _Answers(asyncio.Queue[Any]):
    """What the health service writes to in place of its caller: it holds a lock meanwhile, and one caller who does not
    read would hold up every other, and the server's start and end."""

    async def write(self, answer: Any) -> None:
        """See `grpc.aio.ServicerContext`."""
        self.put_nowait(answer)


async def _end(call: Call, context: grpc.aio.ServicerContext, error: Exception, answer: tuple) -> None:
    """Aborts the call, which raises."""
    match error:
        case ServiceError():
            call.code = code_of(error)
            await context.abort(call.code, str(error), (*trailing_metadata(error), *answer))
        case DecodeError():
            call.code = grpc.StatusCode.INVALID_ARGUMENT
            await context.abort(call.code, "the bytes of a message are not one of this method", answer)
        case NotImplementedError():
            call.code = grpc.StatusCode.UNIMPLEMENTED
            await context.abort(call.code, f"{call.method} is not served here", answer)
    call.code = grpc.StatusCode.INTERNAL
    log.error("%s failed, request id %s", call.method, call.request_id, exc_info=error)
    await context.abort(call.code, f"internal error; request id {call.request_id}", answer)


def _own_code(context: grpc.aio.ServicerContext) -> grpc.StatusCode:
    """What the handler itself has set, OK for nothing. gRPC gives it back as a number."""
    code = context.code() or 0
    return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER[code]


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def _peer(context: grpc.aio.ServicerContext) -> str:
    """The name in the client's certificate where it has shown one, else its address."""
    names = context.auth_context().get("x509_common_name")
    return f"cn:{names[0].decode('utf-8', 'replace')}" if names else context.peer()


MESSAGE_SECONDS = 120.0
"""From a call's head to the end of its message, or of a stream's first one: 64 MiB at 5 Mbit/s."""

_MOMENT_SECONDS, _INSTANT_SECONDS = 0.1, 0.005
"""In which gRPC tells that a call whose messages have ended was cut off: at leisure for an error, soon for a stream."""


async def _first(requests: AsyncIterator) -> Any:
    """A call's first message, None for none. The wait is bounded: what never comes would hold its place for good."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await anext(aiter(requests), None)
    except TimeoutError:
        raise DeadlinePassed(f"the call's message has not come within {MESSAGE_SECONDS:g} s") from None


async def only(requests: AsyncIterator) -> Any:
    """The message of a call that has one; raises DeadlinePassed or InvalidInput where none comes."""
    request = await _first(requests)
    if request is None:
        # A message that was cut off or too large looks like none, and gRPC ends the call itself a moment later.
        await asyncio.sleep(_MOMENT_SECONDS)
        raise InvalidInput("", "the call has no message")
    return request


async def begun_in_time(requests: AsyncIterator) -> AsyncIterator:
    """All messages of a call, the first of them in time; raises as `only`, but ends where there is none."""
    first = await _first(requests)
    if first is not None:
        yield first
        async for request in requests:
            yield request
        # A caller that has gone looks like one that has nothing more to send.
        await asyncio.sleep(_INSTANT_SECONDS)
