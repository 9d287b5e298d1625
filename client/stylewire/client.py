"""The client: one channel, thread-safe, made to be kept."""

from functools import lru_cache
from types import TracebackType
from typing import Any

import grpc
from PIL import Image

from . import messages
from .channel import Tls, default_target, open_channel
from .errors import from_rpc_error
from .messages import ImageLike, StyleLike, Stylized
from .v1 import stylizer_pb2 as pb
from .v1 import stylizer_pb2_grpc

TIMEOUT = 30.0
"""Seconds that a call may take where nothing else is said."""


class Client:
    """A connection to a stylewire server. Safe to use from several threads.

    Args:
        target: HOST:PORT; the environment variable STYLEWIRE_TARGET, else localhost:50051, where None.
        timeout: Seconds that a call may take, retries included.
        tls: Files for a secure channel; None for a plain one.
        channel: Use this channel in place of an own one; `close` leaves it open.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        timeout: float = TIMEOUT,
        tls: Tls | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self.target = target or default_target()
        self.timeout = timeout
        self._owned = channel is None
        self._channel = channel or open_channel(self.target, tls)
        self._stub = stylizer_pb2_grpc.StylizerStub(self._channel)

    def stylize(
        self,
        content: ImageLike,
        style: StyleLike,
        *,
        strength: float | None = None,
        preserve_color: bool = False,
        fit: str = "crop",
        encoding: str | None = None,
        quality: int | None = None,
        timeout: float | None = None,
    ) -> Image.Image:
        """Content in that style.

        Args:
            content: A path, the bytes of a file, a PIL image, or an array uint8 [H, W, 3].
            style: The same, or the name of a named style, or a mapping of either to weights.
            strength: 0..1; 0 is the content in its own style.
            preserve_color: Keep the content's colours.
            fit: "crop" (the centre square at 256x256), "squash" (all of it at 256x256), "keep" (shorter side 256) or
                "native" (the content's own size).
            encoding: How the picture travels back: "png", "jpeg", "webp" or "raw"; None for the content's own format.
            quality: 1..100 for JPEG and WebP.
            timeout: Seconds, in place of the client's.

        Raises:
            StylewireError: See the tree in `stylewire.errors`.
            OSError: A path cannot be read.
        """
        return self.stylize_detailed(
            content,
            style,
            strength=strength,
            preserve_color=preserve_color,
            fit=fit,
            encoding=encoding,
            quality=quality,
            timeout=timeout,
        ).image

    def stylize_detailed(
        self,
        content: ImageLike,
        style: StyleLike,
        *,
        strength: float | None = None,
        preserve_color: bool = False,
        fit: str = "crop",
        encoding: str | None = None,
        quality: int | None = None,
        timeout: float | None = None,
    ) -> Stylized:
        """As `stylize`, with the picture as it travelled, the model's name and the server's timings."""
        request = pb.StylizeRequest(
            content=messages.image_message(content, "content"),
            styles=messages.style_messages(style),
            options=messages.options_message(strength, preserve_color, fit, encoding, quality),
        )
        return messages.stylized(self._call(self._stub.Stylize, request, timeout))

    def model(self, timeout: float | None = None) -> pb.Model:
        """What the server serves, and its limits."""
        return self._call(self._stub.GetModel, pb.GetModelRequest(), timeout)

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

    def _call(self, method: Any, request: Any, timeout: float | None) -> Any:
        try:
            return method(request, timeout=self.timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target) from error


def stylize(content: ImageLike, style: StyleLike, *, target: str | None = None, **options: Any) -> Image.Image:
    """Content in that style, by the server at target; options are those of `Client.stylize`.

    The connection is kept for the next call.
    """
    return _shared(target or default_target()).stylize(content, style, **options)


@lru_cache(maxsize=8)
def _shared(target: str) -> Client:
    return Client(target)
