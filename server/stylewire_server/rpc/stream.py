"""StylizeStream: frames under one style and one set of options."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from stylewire.v1 import stylizer_pb2 as pb

from ..errors import InvalidInput, QueueFull, ServiceError
from ..scheduler import Scheduler, Ticket
from ..stylizer import Options, Pass, Stylized, Stylizer, Timings
from . import messages

T = TypeVar("T")

WIDTH = 4
"""Frames of one stream between being read and being sent: one decodes, one computes, one encodes, one travels."""


class Frames:
    """The frames of one call, as an async iterator of responses.

    Args:
        requests: The call's messages.
        stylizer: Does the work.
        scheduler: Where the work queues; a frame that finds the queue full waits, as its stream was admitted.
        caller: Whose turn it takes there.
        deadline: Of the call, on the clock of `time.monotonic`.
        model: The edition, for the responses.
    """

    def __init__(
        self,
        requests: AsyncIterator[pb.StylizeStreamRequest],
        stylizer: Stylizer,
        scheduler: Scheduler,
        caller: str,
        deadline: float | None,
        model: str,
    ) -> None:
        self._requests = aiter(requests)
        self._stylizer = stylizer
        self._scheduler = scheduler
        self._caller = caller
        self._deadline = deadline
        self._model = model
        self._frames: InOrder[pb.StylizeStreamRequest, pb.StylizeResponse] | None = None

    async def __aiter__(self) -> AsyncIterator[pb.StylizeResponse]:
        first = await anext(self._requests, None)
        if first is None or first.WhichOneof("kind") != "setup":
            raise InvalidInput("setup", "the first message has no setup; give styles and options before the frames")
        # The first frame tells what the set-up took.
        setup = Timings()
        try:
            styles = messages.weighted_styles(first.setup.styles)
            options = messages.options(first.setup.options)
            passes = await self._run(lambda ticket: self._stylizer.find_passes(styles, setup), messages.STYLES)
        except InvalidInput as error:
            error.field = f"setup.{error.field}"
            raise

        async def work(index: int, request: pb.StylizeStreamRequest) -> pb.StylizeResponse:
            try:
                return await self._stylize(request, passes, options, Timings(style_cached=True) if index else setup)
            except ServiceError as error:
                error.args = (f"frame {index}: {error}",)
                raise

        self._frames = InOrder(self._requests, work, WIDTH)
        async for response in self._frames:
            yield response

    def cancel(self) -> None:
        """Frees the engine at once: the caller has gone."""
        if self._frames is not None:
            self._frames.cancel()

    async def _stylize(
        self, request: pb.StylizeStreamRequest, passes: Sequence[Pass], options: Options, timings: Timings
    ) -> pb.StylizeResponse:
        if request.WhichOneof("kind") == "setup":
            raise InvalidInput("setup", "setup came again; it is given once, in the first message")
        content = messages.source(request.content, "content")

        def work(ticket: Ticket) -> tuple[Stylized, float]:
            return self._stylizer.stylize_in(passes, content, options, timings, ticket.check), ticket.queue_ms

        while True:
            try:
                result, queue_ms = await self._run(work, messages.kind(content, options, len(passes)))
            except QueueFull as full:
                await asyncio.sleep(full.retry_after)
            else:
                return messages.response(result, self._model, queue_ms)

    async def _run(self, work: Callable[[Ticket], T], kind: Hashable) -> T:
        return await self._scheduler.run(work, self._caller, self._deadline, kind)


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
