"""A limit on the number of open calls, shared fairly between callers (holders)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from ..errors import TooManyOpenCalls

_RETRY_SECONDS = 1.0

End = Callable[[TooManyOpenCalls], None]


class Place:
    """One open call's place in an `OpenCallLimit`.

    Attributes:
        end: Ends the call when another holder takes its place; None for a call that cannot be ended.
    """

    def __init__(self, limit: "OpenCallLimit", holder: str, end: End | None) -> None:
        self._limit = limit
        self.holder = holder
        self.end = end
        self.is_held = True

    def release(self) -> None:
        """Free the place; a second call does nothing."""
        self._limit.release(self)


class OpenCallLimit:
    """A limit on calls that are open at one time. Use it in one event loop.

    If all places are taken, the server ends the newest call of the holder with the most calls; the new call takes its
    place. The queue has the same rule (see `scheduler`). So no caller can lock out others with calls that send nothing.

    Args:
        limit: Number of places.
        what: Plural noun for the counted calls in the message, such as "streams".

    Attributes:
        taken: Number of places in use.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._holders: dict[str, OrderedDict[Place, None]] = {}
        self.taken = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def take(self, holder: str, end: End | None = None) -> Place:
        """Take a place until `Place.release`.

        Args:
            holder: The caller whose share is used: the account, else the connection.
            end: Ends the call with the given error, when another holder needs the place.

        Raises:
            TooManyOpenCalls: No place is free, and no holder has at least two calls more than this holder.
        """
        if self.taken >= self._limit:
            self._make_room(holder)
        place = Place(self, holder, end)
        self._holders.setdefault(holder, OrderedDict())[place] = None
        self.taken += 1
        self._idle.clear()
        return place

    def release(self, place: Place) -> None:
        """Free a place; for a free place this does nothing."""
        if not place.is_held:
            return
        place.is_held = False
        places = self._holders[place.holder]
        del places[place]
        if not places:
            del self._holders[place.holder]
        self.taken -= 1
        if not self.taken:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no place is taken."""
        await self._idle.wait()

    def _make_room(self, holder: str) -> None:
        refusal = TooManyOpenCalls(
            f"{self.taken} {self._what} are open; the limit is {self._limit} {self._what}", _RETRY_SECONDS
        )
        places = max(self._holders.values(), key=len, default=OrderedDict[Place, None]())
        if len(places) < len(self._holders.get(holder, ())) + 2:
            raise refusal
        victim = next((place for place in reversed(places) if place.end is not None), None)
        if victim is None:
            raise refusal
        end = victim.end
        self.release(victim)
        assert end is not None
        end(refusal)
