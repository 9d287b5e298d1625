"""A limit on the bytes that requests and answers of all calls hold in memory, shared fairly between their holders."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import MemoryFull

_RETRY_SECONDS = 1.0

_PATIENCE_SECONDS = 0.25
"""How long a reservation waits for room before it takes that of a larger holder."""

_SLOW_SECONDS = 5.0
"""How long a message may be on its way before its reservation gives way to anybody who waits: 40 MiB at 70 Mbit/s."""

End = Callable[[MemoryFull], None]


class Reservation:
    """Bytes that one call holds.

    Attributes:
        size: How many.
        end: Ends the call when another holder needs its bytes.
        since: When it was made, on the clock of the event loop.
    """

    def __init__(self, memory: "CallMemory", holder: str, size: int, end: End) -> None:
        self._memory = memory
        self.holder = holder
        self.size = size
        self.end = end
        self.since = asyncio.get_running_loop().time()

    def resize(self, size: int) -> None:
        """Hold another number of bytes, now that the message is read. It counts, even beyond the limit."""
        self._memory.resize(self, size)

    def release(self) -> None:
        """Hold nothing any more; does nothing the second time."""
        self.resize(0)


@dataclass(eq=False)
class _Waiter:
    size: int
    end: End
    granted: "asyncio.Future[Reservation]"


class CallMemory:
    """Bytes of requests and answers. For one event loop.

    A call reserves the longest message before it reads, and what the message really has once it is read. So the bytes
    in memory stay below the limit, however many calls are open. One holder's readers get at most half of the limit.
    When there is no room for another's, it waits. Then the newest call of the largest holder gives way, and where all
    hold the same, the message that has been on its way for longest.

    Args:
        limit: Bytes.

    Attributes:
        used: Bytes that are reserved.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: dict[str, int] = {}
        self._endable: dict[str, OrderedDict[Reservation, None]] = {}
        self._reading: OrderedDict[Reservation, None] = OrderedDict()
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    async def reserve(self, holder: str, size: int, end: End) -> Reservation:
        """Wait for room, and reserve bytes for a message that is about to be read.

        Args:
            holder: Whose share they count against: the account, else the connection.
            size: Bytes, at most half of the limit; more counts as that.
            end: Ends the call with the error it is given, when another holder needs the bytes.
        """
        size = min(size, self.limit // 2)
        if self._has_room(holder, size):
            return self._begin(holder, size, end)
        waiter = _Waiter(size, end, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(holder, deque()).append(waiter)
        try:
            while True:
                # wait, unlike wait_for, leaves the future as it is.
                await asyncio.wait([waiter.granted], timeout=_PATIENCE_SECONDS)
                if waiter.granted.done():
                    return waiter.granted.result()
                if self._waiting[holder][0] is waiter and self.used + size > self.limit:
                    self._make_room(holder, size)
        except asyncio.CancelledError:
            if waiter.granted.done():
                waiter.granted.result().release()
            raise
        finally:
            self._leave(holder, waiter)

    def hold(self, holder: str, size: int, end: End) -> Reservation:
        """Reserve bytes that are in memory already, as an answer is."""
        return self._new(holder, size, end)

    def check_room(self, holder: str) -> None:
        """Check that a job may make another answer; where memory is full, the largest holder's newest call gives way.

        Raises:
            MemoryFull: This holder has more than half of the limit, or memory is full and nobody has more than it.
        """
        own = self._held.get(holder, 0)
        if own > self.limit // 2:
            raise self._refusal()
        if self.used >= self.limit and not self._make_room(holder, 0):
            raise self._refusal()

    def resize(self, reservation: Reservation, size: int) -> None:
        """Change what a reservation holds; `Reservation.resize`."""
        self._reading.pop(reservation, None)
        change = size - reservation.size
        reservation.size = size
        self.used += change
        holder = reservation.holder
        self._held[holder] = self._held.get(holder, 0) + change
        if not self._held[holder]:
            del self._held[holder]
        endable = self._endable.setdefault(holder, OrderedDict())
        if size:
            endable[reservation] = None
        else:
            endable.pop(reservation, None)
        if not endable:
            del self._endable[holder]
        if change < 0:
            self._grant()

    def _new(self, holder: str, size: int, end: End) -> Reservation:
        reservation = Reservation(self, holder, 0, end)
        self.resize(reservation, size)
        return reservation

    def _begin(self, holder: str, size: int, end: End) -> Reservation:
        reservation = self._new(holder, size, end)
        self._reading[reservation] = None
        return reservation

    def _grant(self) -> None:
        """Give the room that there is to those who wait, in turn, one of each holder."""
        for holder in list(self._waiting):
            waiter = self._waiting[holder][0]
            if self._has_room(holder, waiter.size):
                waiter.granted.set_result(self._begin(holder, waiter.size, waiter.end))
                self._leave(holder, waiter)
                if holder in self._waiting:
                    self._waiting.move_to_end(holder)

    def _leave(self, holder: str, waiter: "_Waiter") -> None:
        waiters = self._waiting.get(holder)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[holder]

    def _has_room(self, holder: str, size: int) -> bool:
        return self.used + size <= self.limit and self._held.get(holder, 0) + size <= self.limit // 2

    def _make_room(self, holder: str, size: int) -> bool:
        """End the newest call of the holder with the most bytes, else a slow upload; returns False for neither."""
        largest = max(self._endable, key=lambda name: self._held.get(name, 0), default=holder)
        if largest != holder and self._held.get(largest, 0) > self._held.get(holder, 0) + size:
            victim = next(reversed(self._endable[largest]))
        else:
            slowest = next(iter(self._reading), None)
            if slowest is None or asyncio.get_running_loop().time() - slowest.since < _SLOW_SECONDS:
                return False
            victim = slowest
        refusal = self._refusal()
        victim.release()
        victim.end(refusal)
        return True

    def _refusal(self) -> MemoryFull:
        return MemoryFull(
            f"requests and answers hold {self.used:,} bytes; the limit is {self.limit:,} bytes", _RETRY_SECONDS
        )
