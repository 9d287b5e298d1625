"""The part of a picture that the network takes, and its size."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from ..errors import InvalidInput
from .limits import ImageLimits, format_over_limit

SIDE = 256
"""Side in pixels that the network was trained at."""

MIN_SIZE, MAX_SIZE = 64, 4096
"""Bounds in pixels of the size that a request may ask for, by the contract."""

Size = tuple[int, int]
"""Width and height in pixels, in Pillow's order."""

_FILTER = Image.Resampling.LANCZOS


class Fit(StrEnum):
    """The ways to crop and resize a content picture for the network."""

    CROP_256 = "crop"
    SQUASH_256 = "squash"
    KEEP_256 = "keep"
    NATIVE = "native"


@dataclass(frozen=True)
class Plan:
    """The part of a picture that is used, and its size.

    Args:
        size: Width and height of the whole picture.
        margin: Pixels that are cut off on the left and right, and at the top and bottom.
        target: Width and height that the rest is resized to.
    """

    size: Size
    margin: tuple[float, float]
    target: Size

    def turned(self) -> "Plan":
        """Return the plan for the picture turned by 90 degrees."""
        return Plan(flip(self.size), (self.margin[1], self.margin[0]), flip(self.target))

    @property
    def full(self) -> "Plan":
        """Return the plan that keeps the part's own size."""
        own = [round(side - 2 * margin) for side, margin in zip(self.size, self.margin, strict=True)]
        return Plan(self.size, self.margin, (own[0], own[1]))

    def of(self, size: Size) -> "Plan":
        """Return the plan for another picture of the same scene, one of that size."""
        margin = [edge * new / old for edge, new, old in zip(self.margin, size, self.size, strict=True)]
        return Plan(size, (margin[0], margin[1]), self.target)

    def least_size(self, size: Size) -> Size:
        """Return the smallest size of the whole picture at which the used part is no smaller than the target."""
        used = [side - 2 * margin for side, margin in zip(self.size, self.margin, strict=True)]
        return (
            min(size[0], math.ceil(size[0] * self.target[0] / used[0])),
            min(size[1], math.ceil(size[1] * self.target[1] / used[1])),
        )


def plan_for(size: Size, fit: Fit, limits: ImageLimits, field: str, side: int | None = None, passes: int = 1) -> Plan:
    """Return the part of a picture that is used, and its size.

    Args:
        size: Width and height of the upright picture.
        fit: How the picture is cropped and resized.
        limits: The limits on the picture.
        field: Name of the picture in the request, for messages.
        side: Pixels of the square, or with `Fit.KEEP_256` of the shorter side; a picture is never enlarged to it.
            None is 256 px, to which a smaller picture is enlarged, because the network was trained at that side.
        passes: Number of passes through the network. All of them count against the limit.

    Raises:
        InvalidInput: The network would get more pixels than the limit.
    """
    width, height = size
    shorter = min(size)
    side = SIDE if side is None else min(side, shorter)
    margin = (0.0, 0.0)
    match fit:
        case Fit.CROP_256:
            margin, target = ((width - shorter) / 2, (height - shorter) / 2), (side, side)
        case Fit.SQUASH_256:
            target = (side, side)
        case Fit.KEEP_256:
            target = (round(width * side / shorter), round(height * side / shorter))
        case Fit.NATIVE:
            target = size
    pixels, limit = target[0] * target[1], limits.max_pixels // passes
    if pixels > limit:
        brought = "" if target == size else f", brought to {target[0]}x{target[1]} px by fit {fit} and size {side}"
        each = f" for each of {passes} passes, one for each mask" if passes > 1 else ""
        raise InvalidInput(
            field,
            f"{field} is {width}x{height} px{brought} = {format_over_limit(pixels, limit)}{each}; "
            f"{_advice(size, fit, limit)}",
            value=pixels,
            limit=limit,
            unit="px",
        )
    return Plan(size, margin, target)


def _advice(size: Size, fit: Fit, limit: int) -> str:
    """Return advice for a picture of too many pixels: a size or a fit that is within the limit."""
    ratio = 1.0 if fit in {Fit.CROP_256, Fit.SQUASH_256} else max(size) / min(size)
    most = math.isqrt(int(limit / ratio))
    while round(most * ratio) * most > limit:
        most -= 1
    if most < MIN_SIZE:
        return f"fit {Fit.CROP_256} uses only its center square"
    return f"use {'fit keep with ' if fit is Fit.NATIVE else ''}a size of at most {min(most, MAX_SIZE)} px"


def resize_to_square(pixels: np.ndarray) -> np.ndarray:
    """Return pixels [H,W,3], uint8 or float32, at 256x256, as the style predictor takes them."""
    return resize_pixels(pixels, (SIDE, SIDE))


def resize_pixels(pixels: np.ndarray, target: Size) -> np.ndarray:
    """Return pixels [H,W,3], uint8 or float32 in 0..1, at that size."""
    height, width = pixels.shape[:2]
    if (width, height) == target:
        return pixels
    plan = Plan((width, height), (0, 0), target)
    if pixels.dtype == np.float32:
        return resize_floats(pixels, plan)
    return np.asarray(resize(Image.fromarray(pixels), plan))


def resize(image: Image.Image, plan: Plan) -> Image.Image:
    """Return the plan's part of a picture in mode L, RGB, CMYK, RGBA or F, at the target's size."""
    # The decoder may have returned a smaller picture than `plan.size`.
    scale = (image.width / plan.size[0], image.height / plan.size[1])
    left, top = plan.margin[0] * scale[0], plan.margin[1] * scale[1]
    box = (left, top, image.width - left, image.height - top)
    if image.size == plan.target and not (left or top):
        return image
    if image.mode == "RGBA":
        # Premultiplied alpha keeps the color of transparent pixels out of their neighbors.
        return image.convert("RGBa").resize(plan.target, _FILTER, box, reducing_gap=3.0).convert("RGBA")
    return image.resize(plan.target, _FILTER, box, reducing_gap=3.0)


def resize_floats(pixels: np.ndarray, plan: Plan) -> np.ndarray:
    """Return the plan's part of float32 pixels [H,W,3] in 0..1, at the target's size."""
    if plan.target == plan.size:
        return pixels
    planes = [np.asarray(resize(Image.fromarray(pixels[..., plane]), plan)) for plane in range(3)]
    # Lanczos overshoots at edges.
    return np.clip(np.stack(planes, axis=-1), 0.0, 1.0)


def flip(size: Size) -> Size:
    """Return the size of the picture turned by 90 degrees."""
    return size[1], size[0]
