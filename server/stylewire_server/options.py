"""The styles and options of a request, each with its checks. The wire formats translate to these types."""

from dataclasses import dataclass

import numpy as np

from .errors import InvalidInput
from .imaging.codec import Encoding
from .imaging.fit import MAX_SIZE, MIN_SIZE, Fit

Source = bytes | np.ndarray
"""A picture: a JPEG, PNG or WebP file, or pixels [H,W,3], uint8 or float32 in 0..1."""

QUALITY = 90
"""Default quality of JPEG, WebP and AVIF results, 1..100."""


@dataclass(frozen=True)
class Options:
    """The options of one picture.

    Args:
        strength: Strength of the style, 0..1; 0 is the content in its own style.
        preserve_color: True to keep the chroma of the content.
        fit: How the content reaches the network.
        size: Side in pixels at which the network works, 64 to 4096; None for 256. Not with `Fit.NATIVE`.
        encoding: Format of the result; None for the format of the content.
        quality: Quality of a JPEG, WebP or AVIF result, 1..100.
        full_size: True to compute at `size` and to return a result of the content's size with its contours.
        keep_metadata: True to copy the content's ICC profile and EXIF data to the result.

    Raises:
        InvalidInput: A value is out of its range.
    """

    strength: float = 1.0
    preserve_color: bool = False
    fit: Fit = Fit.CROP_256
    encoding: Encoding | None = None
    quality: int = QUALITY
    size: int | None = None
    full_size: bool = False
    keep_metadata: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 1.0:
            raise InvalidInput(
                "options.strength",
                f"strength is {self.strength:.9g}; it must be from 0 to 1",
                value=self.strength,
                limit=float(self.strength > 0),
            )
        if not 1 <= self.quality <= 100:
            raise InvalidInput(
                "options.quality",
                f"quality is {self.quality}; it must be from 1 to 100",
                value=self.quality,
                limit=100 if self.quality > 100 else 1,
            )
        if self.size is not None:
            if not MIN_SIZE <= self.size <= MAX_SIZE:
                raise InvalidInput(
                    "options.size",
                    f"size is {self.size} px; it must be from {MIN_SIZE} to {MAX_SIZE} px",
                    value=self.size,
                    limit=MAX_SIZE if self.size > MAX_SIZE else MIN_SIZE,
                    unit="px",
                )
            if self.fit is Fit.NATIVE:
                raise InvalidInput(
                    "options.size",
                    f"size is {self.size} px and fit is native, which keeps the content's own size; leave size out, "
                    "or use fit keep",
                )


@dataclass(frozen=True)
class WeightedStyle:
    """One style of a blend.

    Args:
        source: The style picture, or the name of a kept style.
        weight: Weight of the style in the blend, above 0.
        field: Name of the style's field in the request, for error messages.
        mask: Region of the style: a gray picture of any size that is resized to the content; None for everywhere.

    Raises:
        InvalidInput: The weight is not a finite number above 0.
    """

    source: Source | str
    weight: float = 1.0
    field: str = "style"
    mask: Source | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise InvalidInput(
                f"{self.field}.weight", f"{self.field}.weight is {self.weight:g}; it must be a finite number above 0"
            )
