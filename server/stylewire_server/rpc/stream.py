"""Streams of pictures, and StylizeStream: frames under one style and one set of options."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from stylewire.v1 import stylizer_pb2 as pb

from ..errors import InvalidInput, QueueFull, ServiceError
from ..options import Options
from ..passes import Pass
from ..scheduler import Scheduler, Ticket
from ..stylizer import Stylized, Stylizer, Timings
from . import messages

T = TypeVar("T")
R = TypeVar("R")

WIDTH = 4
"""Maximum frames of one stream in work: one is decoded, one computed, one encoded and one sent."""


class Frames:
    """The frames of one call, as an async iterator of responses.

    Args:
        requests: The call's messages.
        stylizer: Computes the pictures.
        scheduler: The queue. If it is full, a frame waits and tries again, because its stream was admitted.
        caller: The caller in whose turn the frames run.
        deadline: Deadline of the call in seconds on the clock of `time.monotonic`; None for no deadline.
        model: Edition of the model, for the responses.
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
        # The response of the first frame includes the times of the set-up.
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
        """Cancel all frames, so that the engine is free at once. Call this when the caller has gone."""
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

        kind = messages.kind(content, options, len(passes))
        result, queue_ms = await until_admitted(lambda: self._run(work, kind))
        return messages.response(result, self._model, queue_ms)

    async def _run(self, work: Callable[[Ticket], T], kind: Hashable) -> T:
        return await self._scheduler.run(work, self._caller, self._deadline, kind)


async def until_admitted(attempt: Callable[[], Awaitable[R]]) -> R:
    """Return the result of one job of a stream. If the queue is full, wait and try again: the stream was admitted."""
    while True:
        try:
            return await attempt()
        except QueueFull as full:
            await asyncio.sleep(full.retry_after)


def cancel_with_call(cancel: Callable[[], object]) -> None:
    """Have `cancel` called when the current call ends.

    A generator that waits in a yield learns of the end of the call only when it is collected. A callback of the context
    would keep an abandoned call in memory (see grpc_workarounds.abandon).
    """
    if (task := asyncio.current_task()) is not None:
        task.add_done_callback(lambda _: cancel())


class InOrder(Generic[T, R]):
    """Iterates over what `work(index, item)` returns for every item, in the order of the items.

    At most `width` items are in work. The next item is read only after the consumer has taken a result. So a slow
    consumer slows down the source, and memory stays bounded (backpressure). A result is available as soon as its own
    work and that of the items before it is done. The first error, of the work or of the source, ends the iteration at
    its place in the order.

    Args:
        items: The source of the items.
        work: Computes the result of an item from its index and the item.
        width: Maximum number of items that are read and whose results are not taken yet.
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
        """Cancel all work at once. Call this when the consumer may have stopped in the middle of the iteration."""
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
        # Nothing awaits a task after the error that ended the iteration. Reading its error avoids a warning of asyncio.
        if not task.cancelled():
            task.exception()
