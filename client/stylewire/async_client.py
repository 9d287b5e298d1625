"""The asyncio client: `Client`, to be awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, Unpack

import grpc
import grpc.aio
from PIL import Image

from . import messages
from .channel import Tls, check_own_channel, default_target, open_async_channel, usable_timeout, usable_token
from .client import AHEAD, TIMEOUT
from .errors import from_rpc_error
from .messages import ImageLike, Options, StyleLike, Stylized
from .styles import AsyncStyles
from .v1 import stylizer_pb2 as pb
from .v1 import stylizer_pb2_grpc

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient:
    """A connection to a stylewire server. Files are read and pictures decoded in threads.

    It belongs to the event loop of its first call, and may be made before there is one.

    Args:
        target: HOST:PORT; the environment variable STYLEWIRE_TARGET, else localhost:50051, where None.
        timeout: Seconds that a call may take, retries included; None for no limit.
        tls: Files for a secure channel; None for a plain one.
        token: For a server that asks for one; the environment variable STYLEWIRE_TOKEN where None.
        channel: Use this channel in place of an own one, with its own TLS and token; `close` leaves it open.

    Raises:
        InvalidRequest: The timeout is not above 0, or the token is not one.
        ValueError: A channel is given, and TLS or a token for it too.
        OSError: A file of `tls` cannot be read.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        timeout: float | None = TIMEOUT,
        tls: Tls | None = None,
        token: str | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self.target = target or default_target()
        self.timeout = usable_timeout(timeout)
        self._owned = channel is None
        if channel is None:
            self._open = partial(open_async_channel, self.target, tls and tls.credentials(), usable_token(token))
        else:
            check_own_channel(tls, token)
        self._channel = channel
        self._stub: stylizer_pb2_grpc.StylizerStub | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def styles(self) -> AsyncStyles:
        """The styles that the server keeps under names."""
        return AsyncStyles(self)

    async def stylize(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Image.Image:
        """See `Client.stylize`."""
        result = await self.stylize_detailed(content, style, timeout=timeout, **options)
        return await self.build(_image, result)

    async def stylize_detailed(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Stylized:
        """See `Client.stylize_detailed`."""
        request = await self.build(messages.stylize_request, content, style, options)
        return messages.stylized(await self.call(self.stub.Stylize, request, timeout))

    async def stylize_stream(
        self,
        frames: Iterable[ImageLike] | AsyncIterable[ImageLike],
        style: StyleLike,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Image.Image, None]:
        """See `Client.stylize_stream`; frames may be an async iterable too. Close it (`aclosing`) to end it early."""
        timeout = usable_timeout(timeout)
        setup = await self.build(messages.setup_request, style, options)
        free = asyncio.Semaphore(AHEAD)
        call = self.stub.StylizeStream(timeout=timeout)
        verdict = Verdict(call)
        sender = asyncio.create_task(self._send(call, setup, frames, free))
        try:
            async for response in call:
                free.release()
                yield await self.build(_image, messages.stylized(response))
            # What the frames' iterator raised, if anything, after the results of the frames before it.
            await sender
        except grpc.RpcError as error:
            raise from_rpc_error(await verdict.of(error), self.target, timeout) from error
        finally:
            call.cancel()
            sender.cancel()
            await asyncio.wait([sender])

    async def _send(
        self,
        call: grpc.aio.StreamStreamCall,
        setup: pb.StylizeStreamRequest,
        frames: Iterable[ImageLike] | AsyncIterable[ImageLike],
        free: asyncio.Semaphore,
    ) -> None:
        # A call that has ended takes no more writes; why it did is the receiver's to tell.
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            await call.write(setup)
        try:
            async with aclosing(_async_iterator(frames)) as source:
                for number in count():
                    await free.acquire()
                    try:
                        frame = await anext(source)
                    except StopAsyncIteration:
                        return
                    request = await self.build(messages.frame_request, frame, number)
                    with suppress(grpc.RpcError, asyncio.InvalidStateError):
                        await call.write(request)
        finally:
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.done_writing()

    async def model(self, timeout: float | None = None) -> pb.Model:
        """See `Client.model`."""
        return await self.call(self.stub.GetModel, pb.GetModelRequest(), timeout)

    async def close(self) -> None:
        """Closes the channel."""
        self._closed = True
        if self._owned and self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, method: Any, request: Any, timeout: float | None) -> Any:
        """One call of the stub, its failure as an error of this package."""
        timeout = self.timeout if timeout is None else usable_timeout(timeout)
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target, timeout) from error

    async def build(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `make` returns, made in a thread: it may read a file, or encode or decode a picture."""
        return await asyncio.to_thread(make, *args, **kwargs)

    @property
    def stub(self) -> stylizer_pb2_grpc.StylizerStub:
        """The generated stub, for what this class does not offer. To be had where an event loop runs.

        Raises:
            ValueError: The client is closed.
            RuntimeError: Another event loop runs than at the first call.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ValueError("the client is closed")
        if self._stub is None:
            self._channel, self._loop = self._channel or self._open(), loop
            self._stub = stylizer_pb2_grpc.StylizerStub(self._channel)
        elif loop is not self._loop:
            raise RuntimeError("the client belongs to the event loop of its first call; make one for each loop")
        return self._stub


def _image(result: Stylized) -> Image.Image:
    return result.image


_END = object()


async def _async_iterator(frames: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    iterator = iter(frames)
    # In a thread, because making a frame may take as long as stylising it.
    while (item := await asyncio.to_thread(next, iterator, _END)) is not _END:
        yield item  # type: ignore[misc]


_CORE = "Internal error from Core"
"""What grpc.aio says of a write that came too late."""

_SECONDS = 1.0
"""For the server's own word to arrive, where the failed write was heard of first."""


class Verdict:
    """Remembers the status that the server gave.

    When a server ends a call while the client still writes, grpc.aio overwrites that status with INTERNAL
    (https://github.com/grpc/grpc/issues/36066, open as of 1.85). Each status passes the call's callbacks first.

    Args:
        call: A call that has just begun.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._given = asyncio.Event()
        self._error: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def of(self, error: grpc.RpcError) -> grpc.RpcError:
        """The server's own error in place of an overwritten one."""
        if error.details() != _CORE:
            return error
        try:
            await asyncio.wait_for(self._given.wait(), _SECONDS)
        except TimeoutError:
            return error
        return self._error or error

    def _note(self, call: grpc.aio.Call) -> None:
        code, details = _now(call.code()), _now(call.details())
        if self._error is None and details != _CORE and code is not grpc.StatusCode.OK:
            self._error = grpc.aio.AioRpcError(
                code, grpc.aio.Metadata(), grpc.aio.Metadata(*_now(call.trailing_metadata())), details
            )
            self._given.set()


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    raise RuntimeError("the call is done, and yet its status is not there")
