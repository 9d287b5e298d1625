"""The domain: content + styles + options -> picture. It knows no gRPC."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from . import images, styles
from .color import preserve_color
from .engine.base import Engine
from .errors import InvalidInput
from .images import Encoding, Fit, ImageLimits

Source = bytes | np.ndarray
"""A picture: a JPEG, PNG or WebP file, or pixels uint8 [H,W,3]."""

Checkpoint = Callable[[], None]
"""Called between the stages of a job; raises when the job is no longer wanted."""

QUALITY = 90


@dataclass(frozen=True)
class Options:
    """How to stylise.

    Args:
        strength: 0..1.
        preserve_color: Keep the content's chroma.
        fit: How the content reaches the network.
        encoding: Of the result; None for the content's own.
        quality: 1..100 for JPEG and WebP.

    Raises:
        InvalidInput: A value is out of its range.
    """

    strength: float = 1.0
    preserve_color: bool = False
    fit: Fit = Fit.CROP_256
    encoding: Encoding | None = None
    quality: int = QUALITY

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise InvalidInput("options.strength", f"strength is {self.strength:g}; it must be from 0 to 1")
        if not 1 <= self.quality <= 100:
            raise InvalidInput("options.quality", f"quality is {self.quality}; it must be from 1 to 100")


@dataclass(frozen=True)
class WeightedStyle:
    """One style of a blend.

    Args:
        source: Its picture.
        weight: Its share, above 0.
        field: Its name in the request, for messages.
    """

    source: Source
    weight: float = 1.0
    field: str = "style"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise InvalidInput(
                f"{self.field}.weight", f"{self.field}.weight is {self.weight:g}; it must be a number above 0"
            )


@dataclass
class Timings:
    """Milliseconds that each stage of one job took."""

    decode_ms: float = 0.0
    predict_ms: float = 0.0
    transform_ms: float = 0.0
    encode_ms: float = 0.0
    style_cached: bool = False

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds the time spent inside to `<stage>_ms`."""
        start = time.perf_counter()
        yield
        setattr(self, f"{stage}_ms", getattr(self, f"{stage}_ms") + (time.perf_counter() - start) * 1e3)


@dataclass(frozen=True)
class Stylized:
    """A finished picture: a file, or the rows of its pixels for `Encoding.RAW_PIXELS`."""

    data: bytes
    encoding: Encoding
    width: int
    height: int
    timings: Timings


class Stylizer:
    """Runs content and styles through an engine. Safe to call from several threads.

    Args:
        engine: What computes.
        limits: What a picture may be.
        max_styles: Styles that one request may blend.
        cache_bytes: Of style vectors kept for pictures that come again.
    """

    def __init__(self, engine: Engine, limits: ImageLimits, max_styles: int, cache_bytes: int) -> None:
        self._engine = engine
        self._limits = limits
        self._max_styles = max_styles
        self.cache = styles.StyleCache(cache_bytes)

    def stylize(
        self, content: Source, blend: Sequence[WeightedStyle], options: Options, checkpoint: Checkpoint = lambda: None
    ) -> Stylized:
        """Content in a blend of styles.

        Raises:
            InvalidInput: A picture cannot be used, or the number of styles is out of its range.
        """
        if not blend:
            raise InvalidInput("styles", "styles is empty; give at least 1 style")
        if len(blend) > self._max_styles:
            raise InvalidInput("styles", f"styles has {len(blend)} styles; the limit is {self._max_styles} styles")
        timings = Timings()
        with timings.measure("decode"):
            picture = images.load(content, options.fit, self._limits, "content")
        checkpoint()
        vector = self._vector(blend, timings)
        if options.strength < 1.0:
            with timings.measure("predict"):
                own = self._predict(images.squash(picture.pixels))
            vector = styles.dose(own, vector, options.strength)
        checkpoint()
        with timings.measure("transform"):
            result = self._engine.transform(picture.pixels[np.newaxis], vector[np.newaxis])[0]
        with timings.measure("encode"):
            if options.preserve_color:
                result = preserve_color(result, picture.pixels)
            encoding = options.encoding or picture.encoding
            data = images.encode(result, encoding, options.quality)
        height, width = result.shape[:2]
        return Stylized(data, encoding, width, height, timings)

    def _vector(self, blend: Sequence[WeightedStyle], timings: Timings) -> np.ndarray:
        found = [self._style_vector(style, timings) for style in blend]
        timings.style_cached = all(cached for _, cached in found)
        return styles.blend([vector for vector, _ in found], [style.weight for style in blend])

    def _style_vector(self, style: WeightedStyle, timings: Timings) -> tuple[np.ndarray, bool]:
        def compute() -> np.ndarray:
            with timings.measure("decode"):
                picture = images.load(style.source, Fit.SQUASH_256, self._limits, style.field)
            with timings.measure("predict"):
                return self._predict(picture.pixels)

        return self.cache.get(styles.fingerprint(style.source), compute)

    def _predict(self, style: np.ndarray) -> np.ndarray:
        return self._engine.predict(style[np.newaxis])[0]
