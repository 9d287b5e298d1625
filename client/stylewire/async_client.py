"""The asyncio client. It has the methods of `Client` as coroutines."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing, suppress
from itertools import count
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, Unpack

import grpc
import grpc.aio
from PIL import Image

from . import messages
from .channel import PROBE_METHOD, PROBE_SECONDS, TIMEOUT, Connection, TargetLike, Tls, usable_timeout
from .client import AHEAD
from .errors import (
    OWN_DEADLINE,
    ServerError,
    StylewireError,
    UnusableClient,
    from_rpc_error,
    is_own_deadline,
    waited_in_vain,
)
from .messages import Asked, Style, StyleLike, Stylized
from .options import Options
from .pictures import ImageLike
from .v1 import stylizer_pb2 as pb
from .v1 import stylizer_pb2_grpc

P = ParamSpec("P")
T = TypeVar("T")


class AsyncStyles:
    """The styles that the server keeps under names. Get it from `AsyncClient.styles`."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def create(
        self, name: str, style: StyleLike, *, overwrite: bool = False, timeout: float | None = None
    ) -> Style:
        """Keep a picture, or a blend of pictures and named styles, under a name.

        Args:
            name: 1 to 63 of a-z, 0-9 and -, beginning with a letter or a digit.
            style: The same kinds of styles that `AsyncClient.stylize` takes.
            overwrite: Replace a style of that name.
            timeout: Seconds, in place of the client's.

        Returns:
            The style as the server keeps it.

        Raises:
            StyleExists: The name is taken.
            StylewireError: The call failed in another way; `stylewire.errors` shows all kinds.
            OSError: A file cannot be read.
        """
        request = await _in_thread(messages.create_request, name, style, overwrite)
        return messages.kept_style(await self._client._call("CreateStyle", request, timeout))

    async def get(self, name: str, *, timeout: float | None = None) -> Style:
        """Return the style of that name.

        Args:
            name: The style's name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleNotFound: There is none.
            StylewireError: The call failed in another way.
        """
        return messages.kept_style(await self._client._call("GetStyle", pb.GetStyleRequest(name=name), timeout))

    async def list(self, *, page_size: int = 0, timeout: float | None = None) -> Sequence[Style]:
        """Return all styles, sorted by name. They are fetched page by page.

        Args:
            page_size: Styles in one call; 0 for the server's default.
            timeout: Seconds for one page, in place of the client's.

        Raises:
            StylewireError: The call failed.
        """
        styles: list[Style] = []
        request = pb.ListStylesRequest(page_size=page_size)
        while True:
            page = await self._client._call("ListStyles", request, timeout)
            styles += map(messages.kept_style, page.styles)
            if not page.next_page_token:
                return styles
            request.page_token = page.next_page_token

    async def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a style.

        Args:
            name: The style's name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleNotFound: There is none.
            StylewireError: The call failed in another way.
        """
        await self._client._call("DeleteStyle", pb.DeleteStyleRequest(name=name), timeout)

    async def import_file(
        self, name: str, data: bytes, *, overwrite: bool = False, timeout: float | None = None
    ) -> Style:
        """Keep a style file, as `export_file` returns it, under a name.

        Args:
            name: 1 to 63 of a-z, 0-9 and -, beginning with a letter or a digit.
            data: The bytes of the file.
            overwrite: Replace a style of that name.
            timeout: Seconds, in place of the client's.

        Returns:
            The style as the server keeps it.

        Raises:
            StyleExists: The name is taken.
            StylewireError: The file cannot be used, or the call failed in another way.
        """
        request = pb.ImportStyleRequest(name=name, data=data, overwrite=overwrite)
        return messages.kept_style(await self._client._call("ImportStyle", request, timeout))

    async def export_file(self, name: str, *, timeout: float | None = None) -> bytes:
        """Return a style as the bytes of a style file, to import it on another server.

        Args:
            name: The style's name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleNotFound: There is none.
            StylewireError: The call failed in another way.
        """
        return (await self._client._call("ExportStyle", pb.ExportStyleRequest(name=name), timeout)).data


class AsyncClient:
    """A connection to a stylewire server, or to several, for asyncio.

    Files are read, and pictures encoded and decoded, in threads. The client belongs to the event loop of its first
    call, and may be made before that loop runs.

    Args:
        target: `HOST:PORT`, or another target as in `TargetLike`. None for the environment variable STYLEWIRE_TARGET,
            else `localhost:50051`. Calls are shared between all addresses whose servers are healthy.
        timeout: Maximum seconds for a call, retries included; None for no limit.
        tls: Files for a secure channel; None for a plain channel.
        token: Token for a server that asks for one; None for the environment variable STYLEWIRE_TOKEN. Over a plain
            channel everybody on the way can read it.
        channel: Your own channel, with its own TLS and token. `close` leaves it open.
        wait_for_ready: Wait for a server that does not answer, up to the timeout, so that a restart costs no failed
            call. False to raise Unavailable at once.

    Raises:
        InvalidRequest: The target, the timeout or the token cannot be used.
        ValueError: A channel is given together with TLS or a token.
        OSError: A file of `tls` cannot be read.
    """

    def __init__(
        self,
        target: TargetLike | None = None,
        *,
        timeout: float | None = TIMEOUT,
        tls: Tls | None = None,
        token: str | None = None,
        channel: grpc.aio.Channel | None = None,
        wait_for_ready: bool = True,
    ) -> None:
        self._connection = Connection(target, timeout, tls, token, wait_for_ready, channel is not None)
        self._channel = channel
        self._owned = channel is None
        self._stub: stylizer_pb2_grpc.StylizerStub | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def target(self) -> str:
        """The server that this client calls."""
        return self._connection.target

    @property
    def styles(self) -> AsyncStyles:
        """The styles that the server keeps under names."""
        return AsyncStyles(self)

    async def stylize(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Image.Image:
        """Stylize a picture.

        Args:
            content: A path, the bytes of a file, an open file, a PIL image, or an array uint8 [H, W, 3].
            style: A picture, the name of a named style, a mapping of either to weights, or a list of them. A
                `WeightedStyle` has a weight and a mask.
            timeout: Seconds, in place of the client's.
            options: The options of `Options`, such as `size=768` or `fit="keep"`.

        Returns:
            The stylized picture, of mode RGB.

        Raises:
            StylewireError: The call failed; `stylewire.errors` shows all kinds.
            OSError: A file cannot be read.
        """
        result = await self.stylize_detailed(content, style, timeout=timeout, **options)
        return await _in_thread(_image, result)

    async def stylize_detailed(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Stylized:
        """Stylize a picture and return the file as it came, with the model's name and the server's timings.

        Arguments and errors are those of `stylize`. The file's header is checked; `Stylized.image` decodes it.
        """
        request = await _in_thread(messages.stylize_request, content, style, options)
        response = await self._call("Stylize", request, timeout)
        return messages.stylized(response, Asked.by(request.options, request.content))

    async def stylize_stream(
        self,
        frames: Iterable[ImageLike] | AsyncIterable[ImageLike],
        style: StyleLike,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[Image.Image, None]:
        """Stylize frames in order, under one style and one set of options.

        A task takes frames from their iterator, a few ahead of the results. Close the generator (`aclosing`) to end
        the call early. An error of the iterator is raised here, after the results of the frames before it.

        Args:
            frames: Pictures of the kinds that `stylize` takes; an iterable or an async iterable.
            style: A style of the kinds that `stylize` takes.
            timeout: Seconds for the whole stream; None for no limit.
            options: The options of `Options`.

        Yields:
            The stylized frames, of mode RGB.

        Raises:
            StylewireError: The call failed. The message begins with `frame 7:`, counted from 0, where it is about one
                frame.
            OSError: A file cannot be read.
        """
        timeout = usable_timeout(timeout)
        setup = await _in_thread(messages.setup_request, style, options)
        free = asyncio.Semaphore(AHEAD)
        asked: deque[Asked] = deque()
        call = self._connected().StylizeStream(**self._connection.call_options(timeout))
        status = _ServerStatus(call)
        sender = asyncio.create_task(self._send(call, setup, frames, free, asked))
        try:
            async for response in call:
                free.release()
                if not asked:
                    raise ServerError("the server sent more results than it got frames")
                yield await _in_thread(_image, messages.stylized(response, asked.popleft()))
            # This raises the error of the frames' iterator, if any, after the results of the frames before it.
            await sender
        except grpc.RpcError as error:
            raise await self._error(await status.resolve(error), timeout) from error
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
        asked: deque[Asked],
    ) -> None:
        # A call that has ended takes no more messages. The receiver raises the reason.
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
                    request = await _in_thread(messages.frame_request, frame, number)
                    asked.append(Asked.by(setup.setup.options, request.content))
                    with suppress(grpc.RpcError, asyncio.InvalidStateError):
                        await call.write(request)
        finally:
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.done_writing()

    async def model(self, timeout: float | None = None) -> pb.Model:
        """Return what the server serves, and its limits.

        Args:
            timeout: Seconds, in place of the client's.

        Raises:
            StylewireError: The call failed.
        """
        return await self._call("GetModel", pb.GetModelRequest(), timeout)

    async def close(self) -> None:
        """Close the channel. The client cannot be used afterwards."""
        self._connection.closed = True
        if self._owned and self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    async def _call(self, method: str, request: Any, timeout: float | None) -> Any:
        """Make one call, and raise its failure as an error of this package."""
        timeout = self._connection.timeout if timeout is None else usable_timeout(timeout)
        call = getattr(self._connected(), method)
        try:
            return await call(request, **self._connection.call_options(timeout))
        except grpc.RpcError as error:
            raise await self._error(error, timeout) from error

    async def _error(self, error: grpc.RpcError, timeout: float | None) -> StylewireError:
        """Return the error of this package for a failed call."""
        if is_own_deadline(error) and self._channel is not None:
            try:
                await self._channel.unary_unary(PROBE_METHOD)(b"", timeout=PROBE_SECONDS)
            except grpc.RpcError as probe:
                telling = await _in_thread(self._connection.telling_error, probe)
                if told := waited_in_vain(self.target, telling, timeout):
                    return told
        return from_rpc_error(await _in_thread(self._connection.telling_error, error), self.target, timeout)

    def _connected(self) -> stylizer_pb2_grpc.StylizerStub:
        """Return the generated stub. The channel is opened at the first call, in the event loop that runs then."""
        self._connection.check_usable()
        loop = asyncio.get_running_loop()
        if self._stub is None:
            self._channel, self._loop = self._channel or self._connection.open_async(), loop
            self._stub = stylizer_pb2_grpc.StylizerStub(self._channel)
        elif loop is not self._loop:
            raise UnusableClient("the client belongs to the event loop of its first call; make one for each loop")
        return self._stub


async def _in_thread(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `make` in a thread and return its result. It may read a file, or encode or decode a picture."""
    return await asyncio.to_thread(make, *args, **kwargs)


def _image(result: Stylized) -> Image.Image:
    return result.image


_END = object()


async def _async_iterator(frames: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    iterator = iter(frames)
    # Use a thread, because making a frame may take as long as stylizing it.
    while (item := await asyncio.to_thread(next, iterator, _END)) is not _END:
        yield item  # type: ignore[misc]


_LOST_STATUS = "Internal error from Core"
"""The message of grpc.aio that replaces the server's status after a late write."""

_STATUS_SECONDS = 5.0
"""Time for the server's own status to arrive after a failed write."""


class _ServerStatus:
    """Remembers the status with which the server ended a call.

    When a server ends a call while the client still writes, grpc.aio overwrites that status with INTERNAL
    (https://github.com/grpc/grpc/issues/36066, open as of 1.85). Each status passes the call's callbacks first. Remove
    this class when the issue is closed and grpcio's floor in pyproject.toml has the fix.

    Args:
        call: A call that has just begun.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._call = call
        self._given = asyncio.Event()
        self._error: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def resolve(self, error: grpc.RpcError) -> grpc.RpcError:
        """Return the server's own error in place of an overwritten one."""
        if error.details() != _LOST_STATUS:
            return error
        left = self._call.time_remaining()
        if left is not None and left <= 0 and not self._given.is_set():
            return _own_error(grpc.StatusCode.DEADLINE_EXCEEDED, OWN_DEADLINE, ())
        try:
            await asyncio.wait_for(self._given.wait(), _STATUS_SECONDS)
        except TimeoutError:
            return error
        return self._error or error

    def _note(self, call: grpc.aio.Call) -> None:
        code, details = _result_of(call.code()), _result_of(call.details())
        if self._error is None and details != _LOST_STATUS and code is not grpc.StatusCode.OK:
            self._error = _own_error(code, details, _result_of(call.trailing_metadata()))
            self._given.set()


def _own_error(code: grpc.StatusCode, details: str, trailers: Iterable[Any]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details)


def _result_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    raise RuntimeError("the call is done, but its status is not there")
