"""One pass of the feed-forward network, timed: pictures through a stylewire server that stays connected."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InvalidOption
from ..feedforward import TIMEOUT_SECONDS, FeedForwardError

REPEATS = 5


@dataclass(frozen=True)
class Pass:
    """A picture and what it took, all medians over warm calls, as the caller waits for them, in milliseconds.

    new_style_ms: with a style that the server has not seen: style prediction and transformation, the whole network.
    known_style_ms: with a style whose vector the server keeps.
    engine_ms: of `new_style_ms`, what the network itself took; the rest is decoding, encoding and the wire.
    """

    picture: Image.Image
    new_style_ms: float
    known_style_ms: float
    engine_ms: float


class FeedForward:
    """A connection to the server at `target` (HOST:PORT). Every call raises FeedForwardError when the server fails."""

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
        """edition, engine, precision, weights_sha256 and version of what is served."""
        model = self._call(self._client.model)
        return {
            name: str(getattr(model, name)) for name in ("edition", "engine", "precision", "weights_sha256", "version")
        }

    def picture(self, content: Image.Image, style: Image.Image) -> Image.Image:
        """`content` in the style of `style`, of the content's size."""
        return self._stylize(content, style).image.convert("RGB")

    def timed(self, content: Image.Image, style: Image.Image, repeats: int = REPEATS) -> Pass:
        """The picture, and the medians over `repeats` calls of each kind after one call that warms the way."""
        if repeats < 1:
            raise InvalidOption(f"repeats is {repeats}; the least is 1")
        picture = self._stylize(content, style).image.convert("RGB")
        known = [_milliseconds(lambda: self._stylize(content, style))[0] for _ in range(repeats)]
        fresh = [
            _milliseconds(lambda unseen=unseen: self._stylize(content, unseen))  # type: ignore[misc]
            for unseen in (_nudged(style, k) for k in range(repeats))
        ]
        engine = [reply.timings.predict_ms + reply.timings.transform_ms for _, reply in fresh]
        return Pass(
            picture,
            statistics.median(ms for ms, _ in fresh),
            statistics.median(known),
            statistics.median(engine),
        )

    def _stylize(self, content: Image.Image, style: Image.Image) -> Any:
        return self._call(
            lambda: self._client.stylize_detailed(content, style, fit="native", encoding="png")  # as it is: lossless
        )

    def _call(self, function: Callable[[], Any]) -> Any:
        import stylewire

        try:
            return function()
        except stylewire.StylewireError as error:
            raise FeedForwardError(f"feed-forward pass at {self.target} failed: {error}") from error


def _nudged(style: Image.Image, k: int) -> Image.Image:
    """`style` with one pixel one level away from what it was: the same to the eye, new to a cache.

    The pixel moves with the clock, so that no earlier run against the same server has used it.
    """
    pixels = np.array(style.convert("RGB"))
    place = (time.time_ns() // 1000 + 7919 * k) % pixels.size
    flat = pixels.reshape(-1)
    flat[place] ^= 1
    return Image.fromarray(pixels)


def _milliseconds(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    reply = call()
    return (time.perf_counter() - began) * 1e3, reply
