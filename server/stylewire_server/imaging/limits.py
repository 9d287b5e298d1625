"""Limits on one picture, and on all pictures of one call."""

from dataclasses import dataclass

from ..errors import InvalidInput

WHOLE_COST = 4
"""Cost of a pixel of a file that is decoded whole, in pixels of a sequential JPEG file.

A sequential JPEG file is made smaller while it is decoded, at 1 to 10 ns of CPU time a pixel. Others take 15 to 70 ns.
"""

_PICTURES_OF_A_CALL = 4


@dataclass(frozen=True)
class ImageLimits:
    """The limits on a picture.

    Args:
        max_pixels: Pixels of the picture that the network takes.
        max_decode_pixels: Pixels of any picture, as stated in its header.
        max_decode_bytes: Memory for the pixels of a file that is decoded whole: all but sequential JPEG files.
        max_encoded_bytes: Bytes of an encoded picture.
        min_side: Pixels of the shorter side.
        max_result_bytes: Bytes of a result; None for any number, where no message carries it.
    """

    max_pixels: int = 4_194_304
    max_decode_pixels: int = 64_000_000
    max_decode_bytes: int = 192 * 2**20
    max_encoded_bytes: int = 16 * 2**20
    min_side: int = 16
    max_result_bytes: int | None = None

    @property
    def max_call_pixels(self) -> int:
        """Pixels of all pictures of one call. Those of files that are decoded whole count `WHOLE_COST` times."""
        return _PICTURES_OF_A_CALL * self.max_decode_pixels


class DecodeBudget:
    """The pixels that one call may still decode. Spend from it before each picture is decoded."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limit = limits.max_call_pixels
        self._spent = 0

    def spend(self, cost: int, field: str) -> None:
        """Count a picture of that cost in pixels.

        Raises:
            InvalidInput: The call's pictures are more than its limit.
        """
        self._spent += cost
        if self._spent > self._limit:
            raise InvalidInput(
                field,
                f"the pictures of this call, up to {field}, have {format_over_limit(self._spent, self._limit)} "
                f"(a pixel counts {WHOLE_COST} times where the file is no sequential JPEG)",
            )


def format_over_limit(pixels: int, limit: int) -> str:
    """Return a text with a number of pixels and the limit that it exceeds, in Mpx."""
    digits = 1 if round(pixels / 1e6, 1) > round(limit / 1e6, 1) > 0 else 6
    return f"{pixels / 1e6:,.{digits}f} Mpx; the limit is {limit / 1e6:,.{digits}f} Mpx"
