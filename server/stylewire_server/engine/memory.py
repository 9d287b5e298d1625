"""The memory for the pictures that are transformed at one time: one shared budget."""

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

log = logging.getLogger(__name__)

DEFAULT_BUDGET = 1_750_000_000
"""Default budget in bytes: enough for 12.7 Mpx, a common phone photograph, in one pass of the lite edition in f32."""

RELEASE_SECONDS = 2.0
"""Time from the end of the last large picture until the engine releases the memory that it keeps for the next picture.

To allocate the memory again costs 0.15 to 0.25 CPU seconds.
"""

LARGE_BYTES = 64 * 2**20
"""Minimum bytes of a large picture. Only the memory of large pictures is released early."""


class MemoryBudget:
    """A budget of bytes that all pictures share. Safe to call from several threads.

    The engine keeps the memory of a finished picture for the next picture on the same stream, until a release. So the
    budget counts the largest pictures since the last release, one for each stream, whether they still run or not. A
    picture that does not fit waits until no picture runs, and then the memory is released. Pictures enter in order of
    arrival, so that a large picture gets its turn.

    Args:
        size: Bytes of the budget.
        streams: Maximum number of pictures whose memory the engine keeps.
        release: Returns the kept memory to the system. It is called while no picture runs.
    """

    def __init__(self, size: int, streams: int, release: Callable[[], None]) -> None:
        self.size = size
        self._streams = streams
        self._release = release
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._running: list[int] = []
        self._kept: list[int] = []
        self._timer: threading.Timer | None = None

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Hold the bytes of a picture while it is transformed."""
        with self._turn, self._changed:
            kept = self._with(amount)
            if sum(kept) > self.size and self._kept:
                self._changed.wait_for(lambda: not self._running)
                self._release()
                kept = [amount]
            self._kept = kept
            self._running.append(amount)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(amount)
                self._changed.notify_all()
            if amount >= LARGE_BYTES:
                self._release_later()

    def _with(self, amount: int) -> list[int]:
        """Return the bytes that each stream keeps once a picture of that amount has run."""
        return sorted([*self._kept, amount], reverse=True)[: self._streams]

    def _release_later(self) -> None:
        with self._changed:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(RELEASE_SECONDS, self._release_now)
            self._timer.daemon = True
            self._timer.start()

    def _release_now(self) -> None:
        with self._turn, self._changed:
            if any(amount >= LARGE_BYTES for amount in self._running):
                # A large picture still runs, and its end starts the timer again. So no picture waits for the release.
                return
            self._changed.wait_for(lambda: not self._running)
            try:
                self._release()
            except Exception:
                log.exception("the memory of finished pictures cannot be released")
            self._kept = []
        trim()


def trim() -> None:
    """Return the free memory of the C library to the system, if the C library is glibc.

    Otherwise a server keeps 160 MB after a picture of 12 Mpx on each of two streams, in place of 90 MB.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
