"""Pictures of the feed-forward network from a server: a start for the optimizer, and for comparisons."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from . import images
from .errors import BaselineError, InvalidOption

TIMEOUT_SECONDS = 60.0
"""Deadline of each call."""

STYLE_SIZE = 1024
"""Longer side in pixels at which the styles of a blend are sent. The network takes them at 256x256 px."""

REPEATS = 5
"""Default number of timed calls of each kind."""


class FeedForwardError(BaselineError):
    """No server answered, or the server refused the call."""


@dataclass(frozen=True)
class Pass:
    """A picture and the time it took: medians over warm calls, as the caller waits for them, in milliseconds.

    Attributes:
        picture: The result, of the content's size.
        new_style_ms: Time with a style that is new to the server: style prediction and transformation.
        known_style_ms: Time with a style whose vector the server has cached.
        engine_ms: The network's share of `new_style_ms`. The rest is decoding, encoding and transport.
    """

    picture: Image.Image
    new_style_ms: float
    known_style_ms: float
    engine_ms: float


class FeedForward:
    """A connection to the stylewire server at `target` (HOST:PORT).

    Raises:
        FeedForwardError: Any method raises it if the server does not answer or answers with an error.
    """

    def __init__(self, target: str) -> None:
        import stylewire

        self.target = target
        self._client = stylewire.Client(target, timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> FeedForward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def model(self) -> dict[str, Any]:
        """Return edition, engine, precision, weights_sha256 and version of the model that is served."""
        model = self._call(self._client.model)
        return {
            name: str(getattr(model, name)) for name in ("edition", "engine", "precision", "weights_sha256", "version")
        }

    def picture(self, content: Image.Image, style: Image.Image) -> Image.Image:
        """Return `content` in the style of `style`, of the content's size."""
        return self._stylize(content, style).image.convert("RGB")

    def blend(self, content: Image.Image, styles: Sequence[Image.Image], shares: Sequence[float]) -> Image.Image:
        """Return `content` in a blend of `styles`; `shares` has a number above 0 for each."""
        blend: dict[bytes, float] = {}
        for style, share in zip(styles, shares, strict=True):
            out = io.BytesIO()
            images.fit(style, min(STYLE_SIZE, max(style.size))).save(out, "PNG", compress_level=1)
            blend[out.getvalue()] = blend.get(out.getvalue(), 0.0) + share
        return self._stylize(content, blend).image.convert("RGB")

    def timed(self, content: Image.Image, style: Image.Image, repeats: int = REPEATS) -> Pass:
        """Return the picture, and medians over `repeats` calls of each kind after one call to warm up."""
        if repeats < 1:
            raise InvalidOption(f"repeats is {repeats}; the minimum is 1")
        picture = self.picture(content, style)
        known = [_milliseconds(lambda: self._stylize(content, style))[0] for _ in range(repeats)]
        fresh = [
            _milliseconds(lambda unseen=unseen: self._stylize(content, unseen))  # type: ignore[misc]
            for unseen in (_changed_pixel(style, k) for k in range(repeats))
        ]
        engine = [reply.timings.predict_ms + reply.timings.transform_ms for _, reply in fresh]
        return Pass(
            picture, statistics.median(ms for ms, _ in fresh), statistics.median(known), statistics.median(engine)
        )

    def _stylize(self, content: Image.Image, style: Image.Image | Mapping[bytes, float]) -> Any:
        # PNG is lossless, and the picture is measured.
        return self._call(lambda: self._client.stylize_detailed(content, style, fit="native", encoding="png"))

    def _call(self, function: Callable[[], Any]) -> Any:
        import stylewire

        try:
            return function()
        except stylewire.StylewireError as error:
            raise FeedForwardError(f"feed-forward pass at {self.target} failed: {error}") from error


def _changed_pixel(style: Image.Image, k: int) -> Image.Image:
    """Return `style` with one value changed by one level, so that the server has not cached it.

    The position depends on the clock, so that no earlier run against the same server has used it.
    """
    pixels = np.array(style.convert("RGB"))
    place = (time.time_ns() // 1000 + 7919 * k) % pixels.size
    pixels.reshape(-1)[place] ^= 1
    return Image.fromarray(pixels)


def _milliseconds(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    reply = call()
    return (time.perf_counter() - began) * 1e3, reply
