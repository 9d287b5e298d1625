"""Thumbnails: small previews of styles. Pixels are uint8 [SIDE,SIDE,3]."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 128
"""Side of a thumbnail in pixels."""

_QUALITY = 85

_MAX_SIDE = 1024
"""Maximum side in pixels of a thumbnail in an imported file."""


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Return the thumbnail of a square picture uint8 [S,S,3]."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def load(data: bytes) -> np.ndarray:
    """Return the pixels of a thumbnail.

    Raises:
        ValueError: A side has more than 1024 px.
        Exception: The bytes are not a JPEG file that can be read. Pillow raises many kinds of errors.
    """
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if max(image.size) > _MAX_SIDE:
            raise ValueError(f"it is {image.width}x{image.height} px; the limit is {_MAX_SIDE} px a side")
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE)))


def join(parts: Sequence[np.ndarray], weights: Sequence[float]) -> bytes:
    """Return the thumbnail of a blend as a JPEG file: one stripe for each part, as wide as its weight."""
    edges = np.rint(np.cumsum([0.0, *weights]) / sum(weights) * SIDE).astype(int)
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    for part, left, right in zip(parts, edges[:-1], edges[1:], strict=True):
        picture[:, left:right] = part[:, left:right]
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
