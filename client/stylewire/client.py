"""The client: one channel, thread-safe, made to be kept."""

import threading
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from itertools import count
from types import TracebackType
from typing import Any, Unpack

import grpc
from PIL import Image

from . import messages
from .channel import Tls, check_own_channel, default_target, open_channel, usable_timeout, usable_token
from .errors import from_rpc_error
from .messages import ImageLike, Options, StyleLike, Stylized, frame_request
from .styles import Styles
from .v1 import stylizer_pb2 as pb
from .v1 import stylizer_pb2_grpc

TIMEOUT = 30.0
"""Seconds that a call may take where nothing else is said."""


AHEAD = 8
"""Frames sent whose results have not come yet: enough to keep a server busy, few enough to hold in memory."""


class FrameFeeder:
    """Requests of one stream, made from frames as results come in. gRPC iterates over it in a thread of its own.

    Args:
        setup: The first message.
        frames: The frames; taken lazily.

    Attributes:
        error: What the frames' iterator raised; the stream then ends as if there were no more frames.
    """

    def __init__(self, setup: pb.StylizeStreamRequest, frames: Iterable[ImageLike]) -> None:
        self._setup = setup
        self._frames = frames
        self._free = threading.Semaphore(AHEAD)
        self._closed = False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pb.StylizeStreamRequest]:
        yield self._setup
        try:
            frames = iter(self._frames)
            for number in count():
                if not self._wait():
                    return
                try:
                    frame = next(frames)
                except StopIteration:
                    return
                yield frame_request(frame, number)
        except Exception as error:
            self.error = error

    def received(self) -> None:
        """The result of a frame has come."""
        self._free.release()

    def close(self) -> None:
        """No more frames are wanted."""
        self._closed = True
        self._free.release()

    def _wait(self) -> bool:
        """Until a frame may be sent; false when none is wanted any more."""
        self._free.acquire()
        return not self._closed


class Client:
    """A connection to a stylewire server. Safe to use from several threads.

    Args:
        target: HOST:PORT; the environment variable STYLEWIRE_TARGET, else localhost:50051, where None.
        timeout: Seconds that a call may take, retries included; None for no limit.
        tls: Files for a secure channel; None for a plain one.
        token: For a server that asks for one; the environment variable STYLEWIRE_TOKEN where None. Over a plain channel
            everybody on the way can read it.
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
        channel: grpc.Channel | None = None,
    ) -> None:
        self.target = target or default_target()
        self.timeout = usable_timeout(timeout)
        self._owned = channel is None
        if channel is not None:
            check_own_channel(tls, token)
        self._channel = channel or open_channel(self.target, tls and tls.credentials(), usable_token(token))
        self._stub = stylizer_pb2_grpc.StylizerStub(self._channel)

    @property
    def styles(self) -> Styles:
        """The styles that the server keeps under names."""
        return Styles(self)

    def stylize(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Image.Image:
        """Content in that style.

        Args:
            content: A path, the bytes of a file, a PIL image, or an array uint8 [H, W, 3].
            style: The same, or the name of a named style, or a mapping of either to weights.
            timeout: Seconds, in place of the client's.
            options: See `Options`.

        Raises:
            StylewireError: See the tree in `stylewire.errors`.
            OSError: A path cannot be read.
        """
        return self.stylize_detailed(content, style, timeout=timeout, **options).image

    def stylize_detailed(
        self, content: ImageLike, style: StyleLike, *, timeout: float | None = None, **options: Unpack[Options]
    ) -> Stylized:
        """As `stylize`, with the picture as it travelled, the model's name and the server's timings."""
        request = messages.stylize_request(content, style, options)
        return messages.stylized(self.call(self._stub.Stylize, request, timeout))

    def stylize_stream(
        self,
        frames: Iterable[ImageLike],
        style: StyleLike,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Generator[Image.Image, None, None]:
        """Frames in that style, in order, under one set of options.

        Frames are taken from their iterator in a thread of their own, a few ahead of the results, so that making
        frames, the network and transfers overlap. Leaving the loop early ends the call. An error of the iterator is
        raised here, after the results of the frames before it.

        Args:
            frames: Each as the content of `stylize`.
            style: As for `stylize`.
            timeout: Seconds for the whole stream; None for no limit.
            options: As for `stylize`.

        Raises:
            StylewireError: Its message begins with `frame 7:`, counted from 0, where one frame is to blame.
            OSError: A path cannot be read.
        """
        requests = FrameFeeder(messages.setup_request(style, options), frames)
        return self._receive(requests, usable_timeout(timeout))

    def model(self, timeout: float | None = None) -> pb.Model:
        """What the server serves, and its limits."""
        return self.call(self._stub.GetModel, pb.GetModelRequest(), timeout)

    def close(self) -> None:
        """Closes the channel."""
        if self._owned:
            self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, method: Any, request: Any, timeout: float | None) -> Any:
        """One call of the stub, its failure as an error of this package."""
        timeout = self.timeout if timeout is None else usable_timeout(timeout)
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target, timeout) from error

    @property
    def stub(self) -> stylizer_pb2_grpc.StylizerStub:
        """The generated stub, for what this class does not offer."""
        return self._stub

    def _receive(self, requests: FrameFeeder, timeout: float | None) -> Generator[Image.Image, None, None]:
        call = self._stub.StylizeStream(iter(requests), timeout=timeout)
        try:
            for response in call:
                requests.received()
                yield messages.stylized(response).image
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target, timeout) from error
        finally:
            requests.close()
            call.cancel()
        if requests.error is not None:
            raise requests.error


def stylize(
    content: ImageLike,
    style: StyleLike,
    *,
    target: str | None = None,
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Image.Image:
    """Content in that style, by the server at target; the rest is as for `Client.stylize`.

    The connection is kept for the next call.
    """
    return _shared(target or default_target()).stylize(content, style, timeout=timeout, **options)


@lru_cache(maxsize=8)
def _shared(target: str) -> Client:
    return Client(target)
