"""Limits on one picture, and on all pictures of one call."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import InvalidInput

WHOLE_COST = 4
"""Cost of a pixel of a file that is decoded whole, in pixels of a sequential JPEG file.

A sequential JPEG file is made smaller while it is decoded, at 1 to 10 ns of CPU time a pixel. Others take 15 to 70 ns.
"""

_PICTURES_OF_A_CALL = 4

HELD_BYTES = 12
"""Bytes that a job holds for each pixel of its content and result, beside the network: the decoded content, the result,
and the copy that is encoded. Measured: 10 for JPEG, 12 for PNG."""

LARGE_BYTES = 64 * 2**20
"""Minimum bytes of a job that counts in `HeldMemory`: 5.6 Mpx."""

_CHECK_SECONDS = 0.1


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
        """Pixels of all pictures of one call. Those of files that are decoded whole count `WHOLE_COST` times."""
        return _PICTURES_OF_A_CALL * self.max_decode_pixels


class HeldMemory:
    """The memory for contents and results of large jobs, which wait in order of arrival. Safe to use from threads.

    Small jobs do not wait: `--streams` bounds how many of them there are.

    Args:
        size: Bytes. A job that needs more runs while no other large job does.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int, checkpoint: Callable[[], None]) -> Iterator[None]:
        """Hold the memory of a job whose content or result has so many pixels.

        `checkpoint` is called while the job waits; what it raises ends the wait.
        """
        amount = pixels * HELD_BYTES
        if amount < LARGE_BYTES:
            yield
            return
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or (self._used and self._used + amount > self._size):
                    self._changed.wait(_CHECK_SECONDS)
                    checkpoint()
                self._used += amount
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


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
