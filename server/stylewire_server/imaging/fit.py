"""Which part of a picture reaches the network, and at which size."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from ..errors import InvalidInput
from .limits import ImageLimits, above

SIDE = 256
"""Side in pixels that the network was trained at."""

Size = tuple[int, int]
"""Width and height in pixels, in Pillow's order."""

_FILTER = Image.Resampling.LANCZOS


class Fit(StrEnum):
    """How a content picture reaches the network."""

    CROP_256 = "crop"
    SQUASH_256 = "squash"
    KEEP_256 = "keep"
    NATIVE = "native"


@dataclass(frozen=True)
class Plan:
    """Part of a picture of that size, left out as equal margins, and the size that the rest is brought to."""

    size: Size
    margin: tuple[float, float]
    target: Size

    def turned(self) -> "Plan":
        """The same for the picture turned by a quarter."""
        return Plan(flip(self.size), (self.margin[1], self.margin[0]), flip(self.target))

    def least_size(self, size: Size) -> Size:
        """The whole picture's size at which the part that is used has just the target's size."""
        used = [side - 2 * margin for side, margin in zip(self.size, self.margin, strict=True)]
        return (
            min(size[0], math.ceil(size[0] * self.target[0] / used[0])),
            min(size[1], math.ceil(size[1] * self.target[1] / used[1])),
        )


def plan_for(size: Size, fit: Fit, limits: ImageLimits, field: str) -> Plan:
    """What becomes of a picture of that size.

    Raises:
        InvalidInput: More pixels would reach the network than the limit; `field` is the picture's name in the request.
    """
    width, height = size
    shorter = min(size)
    match fit:
        case Fit.CROP_256:
            return Plan(size, ((width - shorter) / 2, (height - shorter) / 2), (SIDE, SIDE))
        case Fit.SQUASH_256:
            return Plan(size, (0, 0), (SIDE, SIDE))
        case Fit.KEEP_256:
            target = (round(width * SIDE / shorter), round(height * SIDE / shorter))
        case Fit.NATIVE:
            target = size
    pixels = target[0] * target[1]
    if pixels > limits.max_pixels:
        brought = "" if target == size else f", brought to {target[0]}x{target[1]} px by this fit"
        raise InvalidInput(
            field,
            f"{field} is {width}x{height} px{brought} {above(pixels, limits.max_pixels)}; "
            "make it smaller, or use a fit that does",
        )
    return Plan(size, (0, 0), target)


def squash(pixels: np.ndarray) -> np.ndarray:
    """Pixels [H,W,3], uint8 or float32, brought to 256x256, as the style predictor takes them."""
    if pixels.shape[:2] == (SIDE, SIDE):
        return pixels
    size = (pixels.shape[1], pixels.shape[0])
    plan = Plan(size, (0, 0), (SIDE, SIDE))
    if pixels.dtype == np.float32:
        return resize_floats(pixels, plan)
    return np.asarray(resize(Image.fromarray(pixels), plan))


def resize(image: Image.Image, plan: Plan) -> Image.Image:
    """A picture in mode L, RGB, CMYK, RGBA or F brought to the plan's target."""
    # The decoder may have made the picture smaller than the plan knows it.
    scale = (image.width / plan.size[0], image.height / plan.size[1])
    left, top = plan.margin[0] * scale[0], plan.margin[1] * scale[1]
    box = (left, top, image.width - left, image.height - top)
    if image.size == plan.target and not (left or top):
        return image
    if image.mode == "RGBA":
        # What is transparent has no colour to blend with its neighbours'.
        return image.convert("RGBa").resize(plan.target, _FILTER, box, reducing_gap=3.0).convert("RGBA")
    return image.resize(plan.target, _FILTER, box, reducing_gap=3.0)


def resize_floats(pixels: np.ndarray, plan: Plan) -> np.ndarray:
    """The same for float32 [H,W,3] in 0..1."""
    if plan.target == plan.size:
        return pixels
    planes = [np.asarray(resize(Image.fromarray(pixels[..., plane]), plan)) for plane in range(3)]
    # Lanczos overshoots at edges.
    return np.clip(np.stack(planes, axis=-1), 0.0, 1.0)


def flip(size: Size) -> Size:
    """That of the picture turned by a quarter."""
    return size[1], size[0]
