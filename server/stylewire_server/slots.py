"""A limit on what may go on at one time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import TooMany

_RETRY_SECONDS = 1.0


class Slots:
    """So many at one time. For one event loop.

    Args:
        limit: How many.
        what: Of what, for the message: "streams".
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self.taken = 0
        self._free = asyncio.Event()
        self._free.set()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Holds one for as long as the block runs.

        Raises:
            TooMany: None is free.
        """
        if self.taken >= self._limit:
            raise TooMany(
                f"{self.taken} {self._what} are open; the limit is {self._limit} {self._what}", _RETRY_SECONDS
            )
        self.taken += 1
        self._free.clear()
        try:
            yield
        finally:
            self.taken -= 1
            if not self.taken:
                self._free.set()

    async def all_free(self) -> None:
        """Waits until none is taken."""
        await self._free.wait()
