"""The passes of a blend through the network, one for each mask, and the joining of their results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .imaging import codec
from .imaging.budgets import DecodeBudget
from .imaging.fit import Plan
from .imaging.limits import ImageLimits
from .options import Source, WeightedStyle
from .styles import vectors


@dataclass(frozen=True)
class Pass:
    """One pass of the content through the network.

    Args:
        vector: The style, [D] or [D+P].
        weight: Weight of the pass where several masks overlap.
        mask: Region of the pass; None for everywhere.
        field: Name of the mask in the request.
    """

    vector: np.ndarray
    weight: float = 1.0
    mask: Source | None = None
    field: str = "mask"


def count_passes(blend: Sequence[WeightedStyle]) -> int:
    """Return how many passes a blend takes: one for each masked style, and one for all others together."""
    masked = sum(style.mask is not None for style in blend)
    return masked + (masked < len(blend))


def passes_of(blend: Sequence[WeightedStyle], styles: Sequence[np.ndarray]) -> list[Pass]:
    """Return the passes of a blend.

    Args:
        blend: The styles of the request.
        styles: The vector of each, [D] or [D+P].
    """
    pairs = list(zip(blend, styles, strict=True))
    passes = [
        Pass(vector, style.weight, style.mask, f"{style.field}.mask")
        for style, vector in pairs
        if style.mask is not None
    ]
    everywhere = [(vector, style.weight) for style, vector in pairs if style.mask is None]
    if everywhere:
        parts, weights = zip(*everywhere, strict=True)
        passes.append(Pass(vectors.blend(parts, weights), sum(weights)))
    return passes


def shares_of(passes: Sequence[Pass], plan: Plan, limits: ImageLimits, budget: DecodeBudget) -> list[np.ndarray]:
    """Return the share of each pass in every pixel, float32 [H,W] or, without a mask, a number.

    The shares are in proportion to weight times mask. Where the masks sum to less than 1, the shares do too.

    Args:
        passes: The passes of one picture.
        plan: The crop and size of the content, which the masks follow.
        limits: The limits on a mask.
        budget: Pixels that the call may still decode.

    Raises:
        InvalidInput: A mask cannot be used.
    """
    masks = [
        np.ones((1, 1), np.float32)
        if each.mask is None
        else codec.load_mask(each.mask, plan, limits, each.field, budget)
        for each in passes
    ]
    weighted = [np.float32(each.weight) * mask for each, mask in zip(passes, masks, strict=True)]
    scale = np.minimum(sum(masks), 1) / np.maximum(sum(weighted), np.float32(1e-6))
    return [share * scale for share in weighted]


def crossfade(content: np.ndarray, pictures: Iterable[np.ndarray], shares: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum of pictures [H,W,3], each times its share [H,W].

    Where the shares of a pixel sum to less than 1, the content fills the rest.
    """
    rest = np.ones((1, 1), np.float32)
    total = np.zeros(content.shape, np.float32)

    def add(picture: np.ndarray, share: np.ndarray) -> None:
        # Row by row, because the product takes four times the memory of the picture.
        for index, part in enumerate(np.broadcast_to(share, picture.shape[:2])):
            total[index] += picture[index] * part[:, np.newaxis]

    for picture, share in zip(pictures, shares, strict=True):
        add(picture, share)
        rest = rest - share
    add(content, np.maximum(rest, 0))
    return np.rint(total, out=total).astype(np.uint8) if content.dtype == np.uint8 else total
