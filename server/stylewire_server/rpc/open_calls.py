"""A limit on what may go on at one time."""

import asyncio

from ..errors import TooMany

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

    def take(self) -> None:
        """Takes one, until `give_back`.

        Raises:
            TooMany: None is free.
        """
        if self.taken >= self._limit:
            raise TooMany(
                f"{self.taken} {self._what} are open; the limit is {self._limit} {self._what}", _RETRY_SECONDS
            )
        self.taken += 1
        self._free.clear()

    def give_back(self) -> None:
        """Frees one that was taken."""
        self.taken -= 1
        if not self.taken:
            self._free.set()

    async def all_free(self) -> None:
        """Waits until none is taken."""
        await self._free.wait()
