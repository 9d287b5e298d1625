"""The bounded queue in front of the engine: admission, fairness, deadlines, cancellation.

All state lives in the event loop; only the jobs themselves run in threads.
"""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import DeadlinePassed, Draining, QueueFull

T = TypeVar("T")

_SMOOTHING = 0.1
"""Share of the newest job in the running mean of service times."""


class Abandoned(Exception):
    """Nobody waits for this job any more. Never leaves the scheduler."""


class Ticket:
    """What a running job knows of the call that it is for.

    Attributes:
        queue_ms: Milliseconds between admission and start.
    """

    def __init__(self, deadline: float | None) -> None:
        self.queue_ms = 0.0
        self._deadline = deadline
        self._abandoned = threading.Event()

    def check(self) -> None:
        """Call between stages: raises when the caller has gone, or its deadline has passed."""
        if self._abandoned.is_set():
            raise Abandoned
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DeadlinePassed("the deadline passed while the picture was being made")

    def abandon(self) -> None:
        """The caller has gone."""
        self._abandoned.set()


@dataclass(eq=False)
class _Entry(Generic[T]):
    work: Callable[[Ticket], T]
    ticket: Ticket
    caller: str
    admitted: float
    done: "asyncio.Future[T]"


class Scheduler:
    """Runs jobs in worker threads, callers in turn.

    Args:
        workers: Jobs that run at one time.
        queue_size: Jobs that may wait.
    """

    def __init__(self, workers: int, queue_size: int) -> None:
        self._workers = workers
        self._queue_size = queue_size
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="stylize")
        self._waiting: OrderedDict[str, deque[_Entry]] = OrderedDict()
        self._service_seconds = 0.0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting = 0
        self.running = 0

    async def run(self, work: Callable[[Ticket], T], caller: str, deadline: float | None = None) -> T:
        """Runs work in a worker thread and returns what it returns.

        Args:
            work: Gets a ticket, on which it calls `check` between its stages.
            caller: Whose turn it takes.
            deadline: On the clock of `time.monotonic`, in seconds; None for none.

        Raises:
            Draining: The server is shutting down.
            QueueFull: No more jobs may wait.
            DeadlinePassed: The deadline has passed, or is nearer than the queue is long.
        """
        self._admit(deadline)
        entry = _Entry(work, Ticket(deadline), caller, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(caller, deque()).append(entry)
        self.waiting += 1
        self._idle.clear()
        self._dispatch()
        try:
            return await entry.done
        finally:
            # A cancelled call leaves the queue, or has its job stop at the next stage.
            entry.ticket.abandon()
            self._withdraw(entry)

    def expected_wait(self) -> float:
        """Seconds until a job that arrived now would start, by the jobs before it."""
        if self.running < self._workers:
            return 0.0
        return (self.waiting + 1) * self._service_seconds / self._workers

    def drain(self) -> None:
        """Admit nothing from now on; what has been admitted finishes."""
        self._draining = True

    async def idle(self) -> None:
        """Waits until nothing waits or runs."""
        await self._idle.wait()

    def close(self) -> None:
        """Ends the worker threads; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self, deadline: float | None) -> None:
        if self._draining:
            raise Draining("the server is shutting down; try another one")
        wait = self.expected_wait()
        if self.waiting >= self._queue_size:
            raise QueueFull(
                f"{self.waiting} calls are waiting; the limit is {self._queue_size} calls", retry_after=max(wait, 0.05)
            )
        if deadline is None:
            return
        remaining = deadline - time.monotonic()
        needed = wait + self._service_seconds
        if remaining <= needed:
            raise DeadlinePassed(
                f"the deadline is {max(remaining, 0) * 1e3:.0f} ms away; a picture takes {needed * 1e3:.0f} ms now"
            )

    def _dispatch(self) -> None:
        while self.running < self._workers and self.waiting:
            caller, entries = next(iter(self._waiting.items()))
            entry = entries.popleft()
            self.waiting -= 1
            if entries:
                self._waiting.move_to_end(caller)
            else:
                del self._waiting[caller]
            self._start(entry)

    def _start(self, entry: _Entry) -> None:
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        entry.ticket.queue_ms = (started - entry.admitted) * 1e3
        self.running += 1

        def run() -> None:
            result, error = None, None
            try:
                entry.ticket.check()
                result = entry.work(entry.ticket)
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(self._finish, entry, result, error, started)

        self._threads.submit(run)

    def _finish(self, entry: _Entry[T], result: T, error: BaseException | None, started: float) -> None:
        self.running -= 1
        if error is None:
            seconds = time.monotonic() - started
            self._service_seconds += (seconds - self._service_seconds) * (_SMOOTHING if self._service_seconds else 1.0)
        if not entry.done.done():
            if error is None:
                entry.done.set_result(result)
            else:
                entry.done.set_exception(error)
        self._dispatch()
        self._rest()

    def _withdraw(self, entry: _Entry) -> None:
        entries = self._waiting.get(entry.caller)
        if entries and entry in entries:
            entries.remove(entry)
            self.waiting -= 1
            if not entries:
                del self._waiting[entry.caller]
            self._rest()

    def _rest(self) -> None:
        if not self.waiting and not self.running:
            self._idle.set()
