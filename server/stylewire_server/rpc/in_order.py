"""Work on the items of a stream, several at one time, results in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class InOrder(Generic[T, R]):
    """Iterates over what `work(index, item)` returns for every item, in the order of the items.

    At most `width` items are held: an item is read when a result before it has been taken, so a consumer that is slow
    holds up the source in place of filling memory. A result is there as soon as its own work is done; no further item
    need come. The first error, of the work or of the source, ends the iteration at its place in the order.

    Args:
        items: The source.
        work: Done for each item.
        width: Items between being read and their result being taken.
    """

    def __init__(self, items: AsyncIterator[T], work: Callable[[int, T], Awaitable[R]], width: int) -> None:
        self._items = items
        self._work = work
        self._free = asyncio.Semaphore(width)
        self._results: asyncio.Queue[asyncio.Future[R] | None] = asyncio.Queue()
        self._tasks: set[asyncio.Future[R]] = set()
        self._reader = asyncio.create_task(self._read())

    async def __aiter__(self) -> AsyncIterator[R]:
        try:
            while (task := await self._results.get()) is not None:
                yield await task
                self._free.release()
            await self._reader
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends all work at once. Call it when the consumer may have gone in the middle of an iteration."""
        self._reader.cancel()
        for task in self._tasks:
            task.cancel()

    async def _read(self) -> None:
        try:
            index = 0
            while True:
                await self._free.acquire()
                try:
                    item = await anext(self._items)
                except StopAsyncIteration:
                    return
                task = asyncio.ensure_future(self._work(index, item))
                self._tasks.add(task)
                task.add_done_callback(self._forget)
                self._results.put_nowait(task)
                index += 1
        finally:
            self._results.put_nowait(None)

    def _forget(self, task: "asyncio.Future[R]") -> None:
        self._tasks.discard(task)
        # An error behind the one that ended the iteration is nobody's to retrieve.
        if not task.cancelled():
            task.exception()
