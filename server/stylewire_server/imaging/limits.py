"""The limits on one picture, and their defaults."""

from dataclasses import dataclass

_PICTURES_OF_A_CALL = 4
"""Pictures of the maximum size that one call may have decoded."""


@dataclass(frozen=True)
class ImageLimits:
    """The limits on a picture, with the server's defaults. `EngineSettings` and the flags take them from here.

    Args:
        max_pixels: Pixels of the picture that the network takes. A server derives it from `--picture-memory`.
        max_decode_pixels: Pixels of any picture, as stated in its header.
        max_decode_bytes: Memory for the pixels of a file that is decoded whole: all but sequential JPEG files.
        max_encoded_bytes: Bytes of an encoded picture.
        min_side: Pixels of the shorter side.
        max_result_bytes: Bytes of a result; None for any number, where no message carries it.
        max_held_bytes: Memory for the contents and results of all large jobs at one time.
    """

    max_pixels: int = 4_194_304
    max_decode_pixels: int = 64_000_000
    max_decode_bytes: int = 192 * 2**20
    max_encoded_bytes: int = 16 * 2**20
    min_side: int = 16
    max_result_bytes: int | None = None
    max_held_bytes: int = 875_000_000

    @property
    def max_call_pixels(self) -> int:
        """Pixels of all pictures of one call, where those of files decoded whole count `budgets.WHOLE_COST` times."""
        return _PICTURES_OF_A_CALL * self.max_decode_pixels


def format_over_limit(pixels: int, limit: int) -> str:
    """Return a text with a number of pixels and the limit that it exceeds, in Mpx."""
    digits = 1 if round(pixels / 1e6, 1) > round(limit / 1e6, 1) > 0 else 6
    return f"{pixels / 1e6:,.{digits}f} Mpx; the limit is {limit / 1e6:,.{digits}f} Mpx"
