"""The bounded queue in front of the engine: admission, fairness, deadlines, cancellation.

All state belongs to the event loop; only the jobs themselves run in threads.

Two rules keep the queue fair. Callers take turns, so the many jobs of one caller do not delay the jobs of others. If
the queue is full, the server removes the newest job of the caller with the most jobs; the new job takes its place. So
one caller cannot block the others. The second rule is longest queue drop (Suter et al. 1999, Buffer management schemes
for supporting TCP in gigabit routers with per-flow queueing).
"""

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from .errors import DeadlinePassed, Draining, QueueFull, ServiceError
from .telemetry import stages

T = TypeVar("T")

_MIN_RETRY_SECONDS = 0.05
"""Shortest wait that a refusal asks its caller for."""


class Abandoned(Exception):
    """The caller does not wait for this job any more. This error stays inside the scheduler."""


class Ticket:
    """The view that a running job has of its call.

    Attributes:
        queue_ms: Milliseconds between admission and start.
    """

    def __init__(self, deadline: float | None) -> None:
        self.queue_ms = 0.0
        self._deadline = deadline
        self._abandoned = threading.Event()

    def check(self) -> None:
        """Raise an error if the caller has gone or the deadline has passed. Jobs call this between their stages."""
        if self._abandoned.is_set():
            raise Abandoned
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DeadlinePassed("the deadline passed while the picture was being made")

    def remaining(self) -> float | None:
        """Return the seconds to the deadline, negative after it; None for no deadline."""
        return None if self._deadline is None else self._deadline - time.monotonic()

    def abandon(self) -> None:
        """Note that the caller has gone."""
        self._abandoned.set()


@dataclass(eq=False)
class _Entry(Generic[T]):
    work: Callable[[Ticket], T]
    ticket: Ticket
    caller: str
    kind: Hashable
    admitted: float
    context: Context
    done: "asyncio.Future[T]"


class Scheduler:
    """Runs jobs in worker threads, callers in turn.

    Args:
        workers: Maximum number of jobs that run at one time.
        queue_size: Maximum number of jobs that wait.
        check_start: Called with a caller before each of its jobs starts; raises an error that the job ends in.

    Attributes:
        waiting, running: Number of jobs that wait or run now.
    """

    def __init__(self, workers: int, queue_size: int, check_start: Callable[[str], None] = lambda caller: None) -> None:
        self._check_start = check_start
        self._workers = workers
        self._queue_size = queue_size
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="stylize")
        self._waiting: OrderedDict[str, deque[_Entry]] = OrderedDict()
        self._times = ServiceTimes()
        self._newest_kind: Hashable = None
        self._draining = False
        self.waiting = 0
        self.running = 0

    async def run(
        self, work: Callable[[Ticket], T], caller: str, deadline: float | None = None, kind: Hashable = None
    ) -> T:
        """Run work in a worker thread and return its result.

        Args:
            work: Gets a ticket, on which it calls `check` between its stages.
            caller: The caller in whose turn the job runs.
            deadline: Seconds on the clock of `time.monotonic`; None for no deadline.
            kind: A key that jobs of about the same duration share.

        Raises:
            Draining: The server is shutting down.
            QueueFull: No more jobs may wait, or the job of a caller with fewer jobs took the place of this one.
            DeadlinePassed: The deadline has passed, or comes before the expected end of the job.
        """
        self._admit(caller, deadline, kind)
        done = asyncio.get_running_loop().create_future()
        ticket = Ticket(deadline)
        entry = _Entry(work, ticket, caller, kind, time.perf_counter(), copy_context(), done)
        self._waiting.setdefault(caller, deque()).append(entry)
        self.waiting += 1
        self._dispatch()
        try:
            return await entry.done
        finally:
            # A cancelled call leaves the queue, or has its job stop at the next stage.
            ticket.abandon()
            self._withdraw(entry)
            # An error that the future holds has this frame in its traceback: a cycle, as in `_start`.
            del entry, done

    def expected_wait(self, caller: str = "") -> float:
        """Return the expected wait in seconds for a new job of this caller."""
        if self.running < self._workers:
            return 0.0
        own = len(self._waiting.get(caller, ()))
        ahead = [entry.kind for entries in self._waiting.values() for entry in islice(entries, own + 1)]
        # The kind of the job that was started last is the estimate for the running job that ends first.
        return sum(map(self._times.of, [*ahead, self._newest_kind])) / self._workers

    def check_room(self, caller: str) -> None:
        """Raise QueueFull if the queue would refuse any job of this caller now.

        The server can then skip reading the message.

        Raises:
            QueueFull: As `run`.
        """
        if self._full:
            self._victim(caller)

    def drain(self) -> None:
        """Refuse new jobs from now on; admitted jobs finish."""
        self._draining = True

    def close(self) -> None:
        """End the worker threads; waiting jobs are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _admit(self, caller: str, deadline: float | None, kind: Hashable) -> None:
        if self._draining:
            raise Draining("the server is shutting down; try another one")
        if deadline is not None:
            self._check_deadline(deadline - time.monotonic(), self.expected_wait(caller) + self._times.of(kind))
        if self._full:
            self._make_room(caller)

    @staticmethod
    def _check_deadline(remaining: float, needed: float) -> None:
        if remaining <= needed:
            raise DeadlinePassed(
                f"the deadline is {max(remaining, 0) * 1e3:.0f} ms away; a picture takes {needed * 1e3:.0f} ms now"
            )

    @property
    def _full(self) -> bool:
        return self.running >= self._workers and self.waiting >= self._queue_size

    def _make_room(self, caller: str) -> None:
        newest = self._victim(caller)
        refusal = self._refusal(newest.caller)
        self._withdraw(newest)
        if not newest.done.done():
            newest.done.set_exception(refusal)

    def _victim(self, caller: str) -> _Entry:
        """Return the waiting job that a new job of this caller replaces; raise QueueFull if there is none."""
        longest = max(self._waiting.values(), key=len, default=deque[_Entry]())
        if len(longest) < len(self._waiting.get(caller, ())) + 2:
            raise self._refusal(caller)
        return longest[-1]

    def _refusal(self, caller: str) -> QueueFull:
        return QueueFull(
            f"{self.waiting} calls are waiting; the limit is {self._queue_size} calls",
            retry_after=max(self.expected_wait(caller), _MIN_RETRY_SECONDS),
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
            # A call that has just been cancelled is still here until its task has run.
            if not entry.done.done():
                self._start(entry)

    def _start(self, entry: _Entry) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        entry.ticket.queue_ms = (started - entry.admitted) * 1e3
        entry.context.run(stages.finished, "queue", entry.admitted, started)
        remaining = entry.ticket.remaining()
        try:
            self._check_start(entry.caller)
            if remaining is not None:
                self._check_deadline(remaining, self._times.of(entry.kind))
        except ServiceError as error:
            entry.done.set_exception(error)
            return
        self.running += 1
        self._newest_kind = entry.kind

        def run() -> None:
            result, error = None, None
            try:
                entry.ticket.check()
                result = entry.context.run(entry.work, entry.ticket)
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(self._finish, entry, result, error, started)
            # Its traceback has this frame: a cycle that would keep the job's pictures until a garbage collection.
            result = error = None

        self._threads.submit(run)

    def _finish(self, entry: _Entry[T], result: T, error: BaseException | None, started: float) -> None:
        self.running -= 1
        seconds = time.perf_counter() - started
        # A job that ran out of time takes at least this long. Without this measurement, the next job of this kind would
        # start too, and run out of time as well.
        if error is None or (isinstance(error, DeadlinePassed) and seconds > self._times.of(entry.kind)):
            self._times.measured(entry.kind, seconds)
        if not entry.done.done():
            if error is None:
                entry.done.set_result(result)
            else:
                entry.done.set_exception(error)
        self._dispatch()

    def _withdraw(self, entry: _Entry) -> None:
        entries = self._waiting.get(entry.caller)
        if entries and entry in entries:
            entries.remove(entry)
            self.waiting -= 1
            if not entries:
                del self._waiting[entry.caller]


SMOOTHING = 0.1
"""Weight of the newest job in the running mean."""

HALF_LIFE = 10.0
"""Seconds without a new measurement after which an estimate counts half.

A refused job gives no new measurement. Without this decay, one high estimate would refuse all later jobs of that kind.
"""

KINDS = 256
"""Maximum number of kinds with an estimate; the least recently measured kind is dropped first."""


class ServiceTimes:
    """A running mean of the duration of each kind of job. Large pictures do not change the estimate for small ones.

    Args:
        clock: Returns seconds and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._means: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def of(self, kind: Hashable) -> float:
        """Return the expected seconds of a job of this kind; 0 if no job of this kind was measured."""
        mean, measured = self._means.get(kind, (0.0, 0.0))
        return mean * 0.5 ** ((self._clock() - measured) / HALF_LIFE) if mean else 0.0

    def measured(self, kind: Hashable, seconds: float) -> None:
        """Add the duration of one job of this kind."""
        mean = self.of(kind)
        self._means[kind] = (mean + (seconds - mean) * (SMOOTHING if mean else 1.0), self._clock())
        self._means.move_to_end(kind)
        while len(self._means) > KINDS:
            self._means.popitem(last=False)
