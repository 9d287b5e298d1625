"""The asyncio client: `Client`, to be awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, Unpack

import grpc
import grpc.aio
from PIL import Image

from . import messages
from .channel import Tls, default_target, open_async_channel
from .client import TIMEOUT
from .errors import from_rpc_error
from .frames import AHEAD
from .messages import ImageLike, Options, StyleLike, Stylized
from .styles import AsyncStyles
from .v1 import stylizer_pb2 as pb
from .v1 import stylizer_pb2_grpc
from .verdict import Verdict

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient:
    """A connection to a stylewire server, for one event loop. Files are read and pictures decoded in threads.

    Args:
        target: HOST:PORT; the environment variable STYLEWIRE_TARGET, else localhost:50051, where None.
        timeout: Seconds that a call may take, retries included.
        tls: Files for a secure channel; None for a plain one.
        token: For a server that asks for one; the environment variable STYLEWIRE_TOKEN where None.
        channel: Use this channel in place of an own one; `close` leaves it open.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        timeout: float = TIMEOUT,
        tls: Tls | None = None,
        token: str | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self.target = target or default_target()
        self.timeout = timeout
        self._owned = channel is None
        self._channel = channel or open_async_channel(self.target, tls, token)
        self._stub = stylizer_pb2_grpc.StylizerStub(self._channel)

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
        return messages.stylized(await self.call(self._stub.Stylize, request, timeout))

    async def stylize_stream(
        self,
        frames: Iterable[ImageLike] | AsyncIterable[ImageLike],
        style: StyleLike,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncIterator[Image.Image]:
        """See `Client.stylize_stream`; frames may be an async iterable too. Close it (`aclosing`) to end it early."""
        setup = await self.build(messages.setup_request, style, options)
        free = asyncio.Semaphore(AHEAD)
        call = self._stub.StylizeStream(timeout=timeout)
        verdict = Verdict(call)
        sender = asyncio.create_task(self._send(call, setup, frames, free))
        try:
            async for response in call:
                free.release()
                yield await self.build(_image, messages.stylized(response))
            # What the frames' iterator raised, if anything, after the results of the frames before it.
            await sender
        except grpc.RpcError as error:
            raise from_rpc_error(await verdict.of(error), self.target) from error
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
                while await free.acquire():
                    try:
                        frame = await anext(source)
                    except StopAsyncIteration:
                        return
                    request = await self.build(messages.frame_request, frame)
                    with suppress(grpc.RpcError, asyncio.InvalidStateError):
                        await call.write(request)
        finally:
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.done_writing()

    async def model(self, timeout: float | None = None) -> pb.Model:
        """See `Client.model`."""
        return await self.call(self._stub.GetModel, pb.GetModelRequest(), timeout)

    async def close(self) -> None:
        """Closes the channel."""
        if self._owned:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, method: Any, request: Any, timeout: float | None) -> Any:
        """One call of the stub, its failure as an error of this package."""
        try:
            return await method(request, timeout=self.timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target) from error

    async def build(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `make` returns, made in a thread: it may read a file, or encode or decode a picture."""
        return await asyncio.to_thread(make, *args, **kwargs)

    @property
    def stub(self) -> stylizer_pb2_grpc.StylizerStub:
        """The generated stub, for what this class does not offer."""
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
