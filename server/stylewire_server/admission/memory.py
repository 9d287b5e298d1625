"""A limit on the bytes of all requests and answers in memory, shared fairly between callers (holders)."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import MemoryFull

_RETRY_SECONDS = 1.0

_EVICTION_SECONDS = 0.25
"""Time that a reservation waits for free memory before the server ends a call of a larger holder."""

_SLOW_SECONDS = 5.0
"""Time for receiving a message, after which the server may end its call in favor of another: 40 MiB at 70 Mbit/s."""

End = Callable[[MemoryFull], None]


class Reservation:
    """Bytes that one call holds.

    Attributes:
        size: Number of bytes.
        end: Ends the call when another holder needs its bytes.
        since: Start of the reservation in seconds on the clock of the event loop.
    """

    def __init__(self, memory: "CallMemory", holder: str, size: int, end: End) -> None:
        self._memory = memory
        self.holder = holder
        self.size = size
        self.end = end
        self.since = asyncio.get_running_loop().time()

    def resize(self, size: int) -> None:
        """Change the number of bytes, after the message is read. The new number counts even beyond the limit."""
        self._memory.resize(self, size)

    def release(self) -> None:
        """Free the bytes; a second call does nothing."""
        self.resize(0)


@dataclass(eq=False)
class _Waiter:
    size: int
    end: End
    granted: "asyncio.Future[Reservation]"


class CallMemory:
    """The memory for requests and answers. Use it in one event loop.

    Before the server reads a message, the call reserves the largest size of a message; afterwards it holds the real
    size. So the bytes in memory stay below the limit, however many calls are open. The messages of one holder get at
    most half of the limit. If no memory is free, a reservation waits. Then the server ends the newest call of the
    largest holder. If all hold the same, it ends the call whose message has taken longest to arrive.

    Args:
        limit: Maximum bytes.

    Attributes:
        used: Reserved bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._held: dict[str, int] = {}
        self._endable: dict[str, OrderedDict[Reservation, None]] = {}
        self._reading: OrderedDict[Reservation, None] = OrderedDict()
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    async def reserve(self, holder: str, size: int, end: End) -> Reservation:
        """Wait for free memory, and reserve bytes for a message that is about to be read.

        Args:
            holder: The caller whose share is used: the account, else the connection.
            size: Number of bytes. More than half of the limit counts as half of the limit.
            end: Ends the call with the given error, when another holder needs the bytes.
        """
        size = min(size, self.limit // 2)
        if self._has_room(holder, size):
            return self._begin(holder, size, end)
        waiter = _Waiter(size, end, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(holder, deque()).append(waiter)
        try:
            while True:
                # Unlike `wait_for`, `wait` does not cancel the future.
                await asyncio.wait([waiter.granted], timeout=_EVICTION_SECONDS)
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
        """Reserve bytes that are in memory already, such as an answer."""
        return self._new(holder, size, end)

    def check_room(self, holder: str) -> None:
        """Check that a job may make another answer. If memory is full, the newest call of the largest holder is ended.

        Raises:
            MemoryFull: This holder has more than half of the limit, or memory is full and no other holder has more.
        """
        own = self._held.get(holder, 0)
        if own > self.limit // 2:
            raise self._refusal()
        if self.used >= self.limit and not self._make_room(holder, 0):
            raise self._refusal()

    def resize(self, reservation: Reservation, size: int) -> None:
        """Change the bytes of a reservation, for `Reservation.resize`."""
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
        """Give free memory to waiting reservations; the holders take turns."""
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
        """End the newest call of the largest holder, else a slow upload. Return False if there is neither."""
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
