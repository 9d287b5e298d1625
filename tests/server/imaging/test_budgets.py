"""The memory for contents and results of large jobs."""

import threading

import pytest
from stylewire_server.imaging.budgets import HELD_BYTES, LARGE_BYTES, HeldMemory

LARGE = LARGE_BYTES // HELD_BYTES + 1


def test_large_jobs_wait_for_each_other_and_small_ones_do_not() -> None:
    memory = HeldMemory(LARGE * HELD_BYTES * 2)
    entered, end = threading.Event(), threading.Event()
    checks = threading.Semaphore(0)

    def third() -> None:
        with memory.hold(LARGE, checks.release):
            entered.set()
            end.wait(60)

    with memory.hold(LARGE, lambda: None):
        with memory.hold(LARGE, lambda: None):
            thread = threading.Thread(target=third)
            thread.start()
            # It has looked twice whether its call is still wanted, so it waits.
            assert checks.acquire(timeout=60)
            assert checks.acquire(timeout=60)
            assert not entered.is_set()
            with memory.hold(LARGE - 1, lambda: None):
                pass
        assert entered.wait(60)
    end.set()
    thread.join()


def test_a_job_larger_than_the_memory_runs_alone() -> None:
    memory = HeldMemory(1)
    with memory.hold(10 * LARGE, lambda: None):
        pass
    assert memory._used == 0


def test_a_job_that_is_no_longer_wanted_leaves_the_others_their_turn() -> None:
    class Gone(Exception):
        pass

    def gone() -> None:
        raise Gone

    memory = HeldMemory(LARGE * HELD_BYTES)
    with memory.hold(LARGE, lambda: None), pytest.raises(Gone), memory.hold(LARGE, gone):
        pass
    with memory.hold(LARGE, lambda: None):
        pass
    assert memory._used == 0
