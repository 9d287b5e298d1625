"""Blobs behind a storage that may stop to answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from .blobs import Blobs

T = TypeVar("T")

SECONDS = 5.0
"""That one operation may take; a file of a style has some 10 kB."""

_HANGING = 16
"""Operations that may hang at one time. With so many, nothing is asked of the storage any more."""


class BoundedBlobs:
    """The same blobs, of which every operation ends in time: TimeoutError where the storage does not answer.

    A thread that waits for a lost disk cannot be called back. So each operation has one of its own, which is left to
    itself when it is late, and what it does in the end is done: a write may succeed after it was given up.

    Args:
        blobs: What is asked.
        seconds: In which it has to answer.
    """

    def __init__(self, blobs: Blobs, seconds: float = SECONDS) -> None:
        self._blobs = blobs
        self._seconds = seconds
        self._free = threading.Semaphore(_HANGING)

    def names(self) -> list[str]:
        """See `Blobs.names`."""
        return self._bounded(self._blobs.names)

    def tag(self, name: str) -> str:
        """See `Blobs.tag`."""
        return self._bounded(lambda: self._blobs.tag(name))

    def read(self, name: str) -> bytes:
        """See `Blobs.read`."""
        return self._bounded(lambda: self._blobs.read(name))

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """See `Blobs.write`."""
        self._bounded(lambda: self._blobs.write(name, data, overwrite))

    def remove(self, name: str) -> None:
        """See `Blobs.remove`."""
        self._bounded(lambda: self._blobs.remove(name))

    def _bounded(self, operation: Callable[[], T]) -> T:
        if not self._free.acquire(blocking=False):
            raise TimeoutError
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(operation())
            except BaseException as error:
                done.set_exception(error)
            finally:
                self._free.release()

        # Not of a pool, whose threads the interpreter waits for at its end.
        threading.Thread(target=run, name="storage", daemon=True).start()
        return done.result(self._seconds)
