"""The queue: admission, order, cancellation, draining."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from stylewire_server.errors import DeadlinePassed, Draining, QueueFull
from stylewire_server.scheduler import Scheduler, Ticket
from stylewire_server.telemetry import stages


class Gate:
    """A job that waits until it is released, and notes that it ran."""

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


def start(scheduler: Scheduler, gate: Gate, *names: str) -> dict[str, asyncio.Task[str]]:
    return {name: asyncio.create_task(scheduler.run(gate.job(name), name[0])) for name in names}


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
        started = threading.Event()

        def work(ticket: Ticket) -> None:
            started.set()
            while True:
                ticket.check()
                time.sleep(0.005)

        call = asyncio.create_task(scheduler.run(work, "a"))
        await asyncio.to_thread(started.wait, 30)
        call.cancel()
        await settle(lambda: scheduler.running == 0)
        assert call.cancelled()
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
        await asyncio.sleep(0.05)
        assert not any(call.done() for call in calls)
        gate.open.set()
        assert await asyncio.gather(*calls) == ["0", "1"]
        assert (scheduler.waiting, scheduler.running) == (0, 0)

    asyncio.run(main())


def test_a_caller_cannot_keep_others_out_by_filling_the_queue() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=4), Gate()
        await scheduler.run(lambda ticket: time.sleep(0.5), "g")
        greedy = start(scheduler, gate, "g0", "g1", "g2", "g3", "g4")
        await settle(lambda: scheduler.waiting == 4)
        modest = start(scheduler, gate, "m0")
        with pytest.raises(QueueFull, match=r"4 calls are waiting; the limit is 4 calls") as caught:
            await greedy["g4"]
        # Its own wait: one job runs and three of its caller's are before it. The newcomer's would be two jobs long.
        assert caught.value.retry_after > 1.5
        assert scheduler.waiting == 4
        gate.open.set()
        assert await modest["m0"] == "m0"
        assert await asyncio.gather(*(greedy[name] for name in ("g0", "g1", "g2", "g3"))) == ["g0", "g1", "g2", "g3"]
        assert gate.ran.index("m0") <= 2
        assert "g4" not in gate.ran

    asyncio.run(main())


def test_callers_that_share_the_queue_evenly_do_not_put_each_other_out() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=4), Gate()
        calls = start(scheduler, gate, "x", "a0", "a1", "b0", "b1")
        await settle(lambda: scheduler.waiting == 4)
        with pytest.raises(QueueFull):
            await scheduler.run(gate.job("a2"), "a")
        gate.open.set()
        assert sorted(await asyncio.gather(*calls.values())) == ["a0", "a1", "b0", "b1", "x"]

    asyncio.run(main())


def test_no_queue_still_serves_as_many_as_there_are_workers() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=0), Gate()
        first = start(scheduler, gate, "a")
        await settle(lambda: scheduler.running == 1)
        with pytest.raises(QueueFull):
            await scheduler.run(gate.job("b"), "b")
        gate.open.set()
        assert await first["a"] == "a"

    asyncio.run(main())


def test_a_slow_kind_does_not_refuse_the_quick_ones() -> None:
    async def main() -> None:
        scheduler = Scheduler(workers=1, queue_size=4)
        await scheduler.run(lambda ticket: time.sleep(2.5), "a", kind="huge")
        # A busy machine may take long for the small one too.
        soon = time.monotonic() + 2.0
        with pytest.raises(DeadlinePassed):
            await scheduler.run(lambda ticket: None, "a", soon, kind="huge")
        assert await scheduler.run(lambda ticket: "made", "a", soon, kind="small") == "made"

    asyncio.run(main())


def test_a_job_whose_time_has_become_too_short_in_the_queue_is_not_begun() -> None:
    async def main() -> None:
        scheduler, gate, ran = Scheduler(workers=1, queue_size=4), Gate(), []
        await scheduler.run(lambda ticket: time.sleep(0.5), "a", kind="slow")
        blocker = asyncio.create_task(scheduler.run(gate.job("x"), "x", kind="unmeasured"))
        await settle(lambda: scheduler.running == 1)
        call = asyncio.create_task(scheduler.run(ran.append, "a", time.monotonic() + 0.8, kind="slow"))
        await asyncio.sleep(0.5)
        gate.open.set()
        await blocker
        with pytest.raises(DeadlinePassed, match="the deadline is"):
            await call
        assert not ran

    asyncio.run(main())


def test_a_deadline_nearer_than_the_queue_is_long_is_refused_before_it_waits() -> None:
    async def main() -> None:
        scheduler, gate = Scheduler(workers=1, queue_size=4), Gate()
        await scheduler.run(lambda ticket: time.sleep(0.3), "a")
        calls = start(scheduler, gate, "x", "a0")
        await settle(lambda: scheduler.waiting == 1)
        with pytest.raises(DeadlinePassed, match=r"a picture takes \d+ ms now"):
            await scheduler.run(gate.job("late"), "b", time.monotonic() + 0.5)
        assert not gate.open.is_set()
        gate.open.set()
        await asyncio.gather(*calls.values())
        assert "late" not in gate.ran

    asyncio.run(main())


def test_a_call_cancelled_in_the_moment_of_its_turn_is_not_begun() -> None:
    async def main() -> None:
        scheduler, gate, ran, turns = Scheduler(workers=1, queue_size=4), Gate(), [], []
        first = start(scheduler, gate, "a")
        stages.observer.set(lambda stage, begin, end: turns.append(stage))
        second = asyncio.create_task(scheduler.run(ran.append, "b"))
        await settle(lambda: scheduler.waiting == 1)
        gate.open.set()
        # The first job ends while the loop is held up; the loop's next round dispatches before it runs any task.
        time.sleep(0.3)  # noqa: ASYNC251
        second.cancel()
        assert await first["a"] == "a"
        with pytest.raises(asyncio.CancelledError):
            await second
        await settle(lambda: not scheduler.running)
        assert not ran
        assert not turns

    asyncio.run(main())


def test_running_out_of_time_is_learned_from() -> None:
    async def main() -> None:
        scheduler = Scheduler(workers=1, queue_size=4)

        def slow(ticket: Ticket) -> None:
            time.sleep(0.4)
            ticket.check()

        with pytest.raises(DeadlinePassed, match="while the picture was being made"):
            await scheduler.run(slow, "a", time.monotonic() + 0.2)
        with pytest.raises(DeadlinePassed, match="a picture takes"):
            await scheduler.run(slow, "a", time.monotonic() + 0.2)

    asyncio.run(main())


def test_nobody_starves_behind_a_caller_that_never_stops() -> None:
    async def main() -> None:
        scheduler, served = Scheduler(workers=1, queue_size=8), {"greedy": 0, "modest": 0}
        enough = asyncio.Event()

        def work(ticket: Ticket) -> None:
            time.sleep(0.002)

        async def call(caller: str) -> None:
            while not enough.is_set():
                try:
                    await scheduler.run(work, caller)
                except QueueFull:
                    await asyncio.sleep(0.001)
                    continue
                served[caller] += 1
                if served["modest"] == 20:
                    enough.set()

        async with asyncio.timeout(120):
            await asyncio.gather(*(call("greedy") for _ in range(30)), call("modest"))
        # One caller with one call at a time gets every second turn or so, whatever the other has in the queue.
        assert served["greedy"] < 3 * served["modest"]

    asyncio.run(main())
