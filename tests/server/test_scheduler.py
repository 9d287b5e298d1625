"""The queue: admission, order, cancellation, draining."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from stylewire_server.errors import DeadlinePassed, Draining, QueueFull
from stylewire_server.scheduler import Scheduler, Ticket


class Gate:
    """A job that waits until it is let go, and notes that it ran."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.ran: list[str] = []

    def job(self, name: str) -> Callable[[Ticket], str]:
        def work(ticket: Ticket) -> str:
            self.ran.append(name)
            assert self.open.wait(30)
            return name

        return work


async def settle(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the scheduler did not get there")


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        scheduler = Scheduler(workers=2, queue_size=2)
        assert await scheduler.run(lambda ticket: 7, "a") == 7
        with pytest.raises(ZeroDivisionError):
            await scheduler.run(lambda ticket: 1 // 0, "a")
        assert (scheduler.running, scheduler.waiting) == (0, 0)

    asyncio.run(main())


def test_a_full_queue_refuses_at_once() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=2), Gate()
        calls = [asyncio.create_task(scheduler.run(gate.job(str(i)), "a")) for i in range(3)]
        await settle(lambda: scheduler.waiting == 2)
        with pytest.raises(QueueFull, match=r"2 calls are waiting; the limit is 2 calls") as caught:
            await scheduler.run(gate.job("late"), "a")
        assert caught.value.retry_after > 0
        gate.open.set()
        assert await asyncio.gather(*calls) == ["0", "1", "2"]
        assert "late" not in gate.ran

    asyncio.run(main())


def test_callers_take_turns() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=20), Gate()
        names = ["a0", "a1", "a2", "a3", "b0", "c0"]
        calls = [asyncio.create_task(scheduler.run(gate.job(name), name[0])) for name in names]
        await settle(lambda: scheduler.waiting == 5)
        gate.open.set()
        await asyncio.gather(*calls)
        assert gate.ran.index("b0") < gate.ran.index("a2")
        assert gate.ran.index("c0") < gate.ran.index("a2")

    asyncio.run(main())


def test_a_cancelled_call_leaves_the_queue() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=5), Gate()
        running = asyncio.create_task(scheduler.run(gate.job("running"), "a"))
        waiting = asyncio.create_task(scheduler.run(gate.job("waiting"), "b"))
        await settle(lambda: scheduler.waiting == 1)
        waiting.cancel()
        await settle(lambda: scheduler.waiting == 0)
        gate.open.set()
        assert await running == "running"
        assert gate.ran == ["running"]

    asyncio.run(main())


def test_a_cancelled_job_stops_at_its_next_check() -> None:
    async def main() -> None:
        scheduler = Scheduler(workers=1, queue_size=5)
        started, reached_end = threading.Event(), threading.Event()

        def work(ticket: Ticket) -> None:
            started.set()
            while True:
                ticket.check()
                time.sleep(0.005)
            reached_end.set()

        call = asyncio.create_task(scheduler.run(work, "a"))
        await asyncio.to_thread(started.wait, 30)
        call.cancel()
        await settle(lambda: scheduler.running == 0)
        assert not reached_end.is_set()
        assert await scheduler.run(lambda ticket: "next", "a") == "next"

    asyncio.run(main())


def test_a_deadline_that_cannot_be_met_is_refused_before_any_work() -> None:
    async def main() -> None:
        scheduler, ran = Scheduler(workers=1, queue_size=5), []
        for _ in range(3):
            await scheduler.run(lambda ticket: time.sleep(0.2), "a")
        with pytest.raises(DeadlinePassed, match=r"the deadline is \d+ ms away; a picture takes \d+ ms now"):
            await scheduler.run(lambda ticket: ran.append(1), "a", deadline=time.monotonic() + 0.02)
        with pytest.raises(DeadlinePassed):
            await scheduler.run(lambda ticket: ran.append(1), "a", deadline=time.monotonic() - 1)
        assert not ran

    asyncio.run(main())


def test_an_expired_job_never_runs() -> None:
    async def main() -> None:
        scheduler, gate, ran = Scheduler(workers=1, queue_size=5), Gate(), []
        first = asyncio.create_task(scheduler.run(gate.job("first"), "a"))
        second = asyncio.create_task(scheduler.run(lambda ticket: ran.append(1), "a", deadline=time.monotonic() + 0.1))
        await asyncio.sleep(0.3)
        gate.open.set()
        await first
        with pytest.raises(DeadlinePassed):
            await second
        assert not ran

    asyncio.run(main())


def test_draining_finishes_what_was_admitted() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=5), Gate()
        calls = [asyncio.create_task(scheduler.run(gate.job(str(i)), "a")) for i in range(2)]
        await settle(lambda: scheduler.waiting == 1)
        scheduler.drain()
        with pytest.raises(Draining):
            await scheduler.run(gate.job("late"), "a")
        idle = asyncio.create_task(scheduler.idle())
        await asyncio.sleep(0.05)
        assert not idle.done()
        gate.open.set()
        await idle
        assert await asyncio.gather(*calls) == ["0", "1"]

    asyncio.run(main())
