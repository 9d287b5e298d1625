"""The synchronous client: one channel that threads can share. Create it once and keep it."""

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from PIL import Image

from . import messages
from .channel import (
    PROBE_METHOD,
    PROBE_SECONDS,
    TIMEOUT,
    ChannelLike,
    Connection,
    TargetLike,
    Tls,
    default_target,
    make_stub,
    usable_timeout,
)
from .errors import ServerError, StylewireError, from_rpc_error, is_own_deadline, rpc_error, waited_in_vain
from .messages import Asked, Style, StyleLike, Stylized
from .options import Options
from .pictures import ImageLike
from .v1 import stylizer_pb2 as pb

if TYPE_CHECKING:
    # gRPC is loaded at the first call; `stylewire --local` does without it.
    import grpc

    from .v1 import stylizer_pb2_grpc

AHEAD = 8
"""Frames that are sent ahead of the results: enough to keep a server busy, few enough to hold in memory."""


class Styles:
    """The styles that the server keeps under names. Get it from `Client.styles`."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def create(self, name: str, style: StyleLike, *, overwrite: bool = False, timeout: float | None = None) -> Style:
        """Keep a picture, or a blend of pictures and named styles, under a name.

        Args:
            name: 1 to 63 of a-z, 0-9 and -, beginning with a letter or a digit.
            style: The same kinds of styles that `Client.stylize` takes.
            overwrite: Replace a style of that name.
            timeout: Seconds, in place of the client's.

        Returns:
            The style as the server keeps it.

        Raises:
            StyleExists: The name is taken.
            StylewireError: The call failed in another way; `stylewire.errors` shows all kinds.
            OSError: A file cannot be read.
        """
        request = messages.create_request(name, style, overwrite)
        return messages.kept_style(self._client._call("CreateStyle", request, timeout))

    def get(self, name: str, *, timeout: float | None = None) -> Style:
        """Return the style of that name.

        Args:
            name: The style's name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleNotFound: There is none.
            StylewireError: The call failed in another way.
        """
        return messages.kept_style(self._client._call("GetStyle", pb.GetStyleRequest(name=name), timeout))

    def list(self, *, page_size: int = 0, timeout: float | None = None) -> Sequence[Style]:
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
            page = self._client._call("ListStyles", request, timeout)
            styles += map(messages.kept_style, page.styles)
            if not page.next_page_token:
                return styles
            request.page_token = page.next_page_token

    def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Delete a style.

        Args:
            name: The style's name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleNotFound: There is none.
            StylewireError: The call failed in another way.
        """
        self._client._call("DeleteStyle", pb.DeleteStyleRequest(name=name), timeout)

    def import_file(self, name: str, data: bytes, *, overwrite: bool = False, timeout: float | None = None) -> Style:
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
        return messages.kept_style(self._client._call("ImportStyle", request, timeout))

    def export_file(self, name: str, *, timeout: float | None = None) -> bytes:
        """Return a style as the bytes of a style file, to import it on another server.

        Args:
            name: The style's name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleNotFound: There is none.
            StylewireError: The call failed in another way.
        """
        return self._client._call("ExportStyle", pb.ExportStyleRequest(name=name), timeout).data


class Client:
    """A connection to a stylewire server, or to several. Safe to use from several threads.

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
        channel: ChannelLike | None = None,
        wait_for_ready: bool = True,
    ) -> None:
        self._connection = Connection(target, timeout, tls, token, wait_for_ready, channel is not None)
        self._channel = channel
        self._owned = channel is None
        self._lock = threading.Lock()
        self._stub: stylizer_pb2_grpc.StylizerStub | None = None

    @property
    def target(self) -> str:
        """The server that this client calls."""
        return self._connection.target

    @property
    def styles(self) -> Styles:
        """The styles that the server keeps under names."""
        return Styles(self)

    def stylize(
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
        return self.stylize_detailed(content, style, timeout=timeout, **options).image

    def stylize_detailed(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Stylized:
        """Stylize a picture and return the file as it came, with the model's name and the server's timings.

        Arguments and errors are those of `stylize`. The file's header is checked; `Stylized.image` decodes it.
        """
        request = messages.stylize_request(content, style, options)
        response = self._call("Stylize", request, timeout)
        return messages.stylized(response, Asked.by(request.options, request.content))

    def stylize_stream(
        self,
        frames: Iterable[ImageLike],
        style: StyleLike,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Image.Image, None, None]:
        """Stylize frames in order, under one style and one set of options.

        A thread takes frames from their iterator, a few ahead of the results. So making frames, the network and the
        transfers overlap. Leaving the loop early ends the call. An error of the iterator is raised here, after the
        results of the frames before it.

        Args:
            frames: Pictures of the kinds that `stylize` takes.
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
        requests = _FrameFeeder(messages.setup_request(style, options), frames)
        return self._receive(requests, usable_timeout(timeout))

    def model(self, timeout: float | None = None) -> pb.Model:
        """Return what the server serves, and its limits.

        Args:
            timeout: Seconds, in place of the client's.

        Raises:
            StylewireError: The call failed.
        """
        return self._call("GetModel", pb.GetModelRequest(), timeout)

    def close(self) -> None:
        """Close the channel. The client cannot be used afterwards."""
        self._connection.closed = True
        if self._owned and self._channel is not None:
            self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    def _call(self, method: str, request: Any, timeout: float | None) -> Any:
        """Make one call, and raise its failure as an error of this package."""
        timeout = self._connection.timeout if timeout is None else usable_timeout(timeout)
        call = getattr(self._connected(), method)
        try:
            return call(request, **self._connection.call_options(timeout))
        except rpc_error() as error:
            raise self._error(error, timeout) from error

    def _connected(self) -> "stylizer_pb2_grpc.StylizerStub":
        """Return the generated stub. The channel is opened at the first call, so that a fork before it does no harm."""
        self._connection.check_usable()
        with self._lock:
            if self._stub is None:
                self._channel = self._channel or self._connection.open()
                self._stub = make_stub(self._channel)
            return self._stub

    def _error(self, error: "grpc.RpcError", timeout: float | None) -> StylewireError:
        """Return the error of this package for a failed call."""
        if is_own_deadline(error) and self._channel is not None:
            try:
                self._channel.unary_unary(PROBE_METHOD)(b"", timeout=PROBE_SECONDS)
            except rpc_error() as probe:
                if told := waited_in_vain(self.target, self._connection.telling_error(probe), timeout):
                    return told
        return from_rpc_error(self._connection.telling_error(error), self.target, timeout)

    def _check_answers(self) -> None:
        """Raise Unavailable at once if nothing listens, for callers that should not wait for a server."""
        self._connected()
        assert self._channel is not None
        try:
            self._channel.unary_unary(PROBE_METHOD)(b"", timeout=self._connection.timeout)
        except rpc_error() as error:
            if error.code().name == "UNAVAILABLE":
                raise self._error(error, None) from error

    def _receive(self, requests: "_FrameFeeder", timeout: float | None) -> Generator[Image.Image, None, None]:
        call = self._connected().StylizeStream(iter(requests), **self._connection.call_options(timeout))
        try:
            for response in call:
                yield messages.stylized(response, requests.received()).image
        except rpc_error() as error:
            raise self._error(error, timeout) from error
        finally:
            requests.close()
            call.cancel()
        if requests.error is not None:
            raise requests.error


class _FrameFeeder:
    """The requests of one stream, made from frames as results come in. gRPC iterates over it in its own thread.

    Args:
        setup: The first message.
        frames: The frames, which are taken lazily.

    Attributes:
        error: The error that the frames' iterator raised. The stream then ends as if there were no more frames.
    """

    def __init__(self, setup: pb.StylizeStreamRequest, frames: Iterable[ImageLike]) -> None:
        self._setup = setup
        self._frames = frames
        self._free = threading.Semaphore(AHEAD)
        self._asked: deque[Asked] = deque()
        self._closed = False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pb.StylizeStreamRequest]:
        yield self._setup
        try:
            frames = iter(self._frames)
            for number in count():
                self._free.acquire()
                if self._closed:
                    return
                try:
                    frame = next(frames)
                except StopIteration:
                    return
                request = messages.frame_request(frame, number)
                self._asked.append(Asked.by(self._setup.setup.options, request.content))
                yield request
        except Exception as error:
            self.error = error

    def received(self) -> Asked:
        """Note that a result has come, and return the request of that result."""
        self._free.release()
        if not self._asked:
            raise ServerError("the server sent more results than it got frames")
        return self._asked.popleft()

    def close(self) -> None:
        """Note that no more frames are wanted."""
        self._closed = True
        self._free.release()


def stylize(
    content: ImageLike,
    style: StyleLike,
    *,
    target: str | None = None,
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Image.Image:
    """Stylize a picture with the server at target. The connection is kept for the next call.

    Args:
        content: A picture of the kinds that `Client.stylize` takes.
        style: A style of the kinds that `Client.stylize` takes.
        target: The server; None for the environment variable STYLEWIRE_TARGET, else `localhost:50051`.
        timeout: Seconds; None for 30 s.
        options: The options of `Options`.

    Returns:
        The stylized picture, of mode RGB.

    Raises:
        StylewireError: The call failed; `stylewire.errors` shows all kinds.
        OSError: A file cannot be read.
    """
    client = _shared(target or default_target(), os.getpid())
    return client.stylize(content, style, timeout=timeout, **options)


@lru_cache(maxsize=8)
def _shared(target: str, process: int) -> Client:
    return Client(target)
