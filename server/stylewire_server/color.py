"""Keeping the content's colours."""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B in luma: ITU-R BT.601, the matrix of JPEG's YCbCr."""


def preserve_color(picture: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Luma of the picture, chroma of the content; both [...,3] of one shape and type, uint8 or float32 in 0..1.

    Cb and Cr are multiples of B - Y and R - Y, so a picture keeps them when R, G and B all move by the change of Y.
    Adding that change in float32 avoids the banding of an 8-bit YCbCr round trip. Where the sum leaves the gamut it
    is clipped. Gatys et al. 2016 (Preserving Color in Neural Artistic Style Transfer), section 4, does the same in YIQ.
    """
    change = (picture.astype(np.float32) - content) @ LUMA
    moved = content + change[..., np.newaxis]
    if picture.dtype == np.uint8:
        return np.clip(np.rint(moved), 0, 255).astype(np.uint8)
    return np.clip(moved, 0.0, 1.0).astype(picture.dtype)
