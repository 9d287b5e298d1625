"""What a picture may be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """Of one picture.

    Args:
        max_pixels: Of the picture that reaches the network.
        max_decode_pixels: Of any picture as its header states it.
        max_encoded_bytes: Of an encoded picture.
        min_side: Shortest side in pixels.
    """

    max_pixels: int = 4_194_304
    max_decode_pixels: int = 64_000_000
    max_encoded_bytes: int = 16 * 2**20
    min_side: int = 16


def above(pixels: int, limit: int) -> str:
    """How a number of pixels is told that is above the limit."""
    digits = 1 if round(pixels / 1e6, 1) > round(limit / 1e6, 1) > 0 else 6
    return f"= {pixels / 1e6:,.{digits}f} Mpx; the limit is {limit / 1e6:,.{digits}f} Mpx"
