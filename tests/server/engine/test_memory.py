"""The memory budget, without an engine: who waits, and when memory is released."""

import threading
import time
from collections.abc import Callable

import pytest
from stylewire_server.engine import memory
from stylewire_server.engine.memory import LARGE_BYTES, MemoryBudget
from stylewire_server.testing import until


class Engine:
    """A stand-in for an engine that counts releases, and fails if one comes while a picture runs."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.releases = 0
        self._lock = threading.Lock()

    def release(self) -> None:
        assert not self.running
        self.releases += 1

    def run(self, budget: MemoryBudget, amount: int, meanwhile: Callable[[], object] = lambda: None) -> None:
        with budget.reserve(amount):
            with self._lock:
                self.running += amount
                self.most = max(self.most, self.running)
            meanwhile()
            with self._lock:
                self.running -= amount


def test_pictures_together_stay_within_the_budget() -> None:
    engine = Engine()
    budget = MemoryBudget(1000, 4, engine.release)
    threads = [
        threading.Thread(target=engine.run, args=(budget, amount, lambda: time.sleep(0.01)))
        for amount in [600, 300, 90, 500, 700, 20, 1000, 400] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 0 < engine.most <= 1000
    assert engine.releases > 0


def test_what_finished_pictures_left_counts_until_it_is_released() -> None:
    engine = Engine()
    budget = MemoryBudget(1000, 2, engine.release)
    engine.run(budget, 600)
    engine.run(budget, 300)
    assert engine.releases == 0
    # The stream that held 300 bytes takes these, so all streams together stay within the budget.
    engine.run(budget, 400)
    assert engine.releases == 0
    engine.run(budget, 500)
    assert engine.releases == 1


def test_a_small_picture_does_not_wait_for_a_large_one() -> None:
    engine = Engine()
    budget = MemoryBudget(1000, 2, engine.release)
    engine.run(budget, 900, lambda: engine.run(budget, 100))
    assert engine.most == 1000


def test_a_picture_above_the_whole_budget_runs_alone() -> None:
    engine = Engine()
    budget = MemoryBudget(1000, 2, engine.release)
    engine.run(budget, 5000)
    engine.run(budget, 5000)
    assert engine.releases == 1


def test_memory_of_large_pictures_is_released_when_they_stop_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "RELEASE_SECONDS", 0.05)
    engine = Engine()
    budget = MemoryBudget(10 * LARGE_BYTES, 2, engine.release)
    engine.run(budget, LARGE_BYTES - 1)
    time.sleep(0.2)
    assert engine.releases == 0
    engine.run(budget, LARGE_BYTES)
    until(lambda: engine.releases == 1, "the memory is released")
