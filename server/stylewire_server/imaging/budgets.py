"""Budgets of pixels and memory that several pictures share: those of one call, and large ones of all calls."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import InvalidInput
from .limits import ImageLimits, format_over_limit

WHOLE_COST = 4
"""Cost of a pixel of a file that is decoded whole, in pixels of a sequential JPEG file.

A sequential JPEG file is made smaller while it is decoded, at 1 to 10 ns of CPU time a pixel. Others take 15 to 70 ns.
"""

HELD_BYTES = 12
"""Bytes that a job holds for each pixel of its content and result, beside the network: the decoded content, the result,
and the copy that is encoded. Measured: 10 for JPEG, 12 for PNG."""

LARGE_BYTES = 64 * 2**20
"""Minimum bytes of a job that counts in `HeldMemory`: 5.6 Mpx."""

_CHECK_SECONDS = 0.1


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
