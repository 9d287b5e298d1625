"""Estimates of the duration of jobs, by kind."""

import pytest
from stylewire_server.scheduler import HALF_LIFE, KINDS, ServiceTimes


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_kind_that_nobody_has_measured_takes_no_time() -> None:
    assert ServiceTimes().of("unknown") == 0.0


def test_the_first_measurement_counts_whole_and_later_ones_a_part() -> None:
    times = ServiceTimes(Clock())
    times.measured("a", 1.0)
    assert times.of("a") == 1.0
    times.measured("a", 2.0)
    assert times.of("a") == pytest.approx(1.1)


def test_one_kind_says_nothing_of_another() -> None:
    times = ServiceTimes(Clock())
    times.measured("small", 0.01)
    times.measured("huge", 30.0)
    assert times.of("small") == 0.01


def test_an_estimate_fades_so_that_it_cannot_refuse_for_ever() -> None:
    clock = Clock()
    times = ServiceTimes(clock)
    times.measured("a", 8.0)
    clock.now += HALF_LIFE
    assert times.of("a") == pytest.approx(4.0)
    clock.now += 10 * HALF_LIFE
    assert times.of("a") < 0.01


def test_kinds_are_bounded() -> None:
    times = ServiceTimes(Clock())
    for kind in range(KINDS + 5):
        times.measured(kind, 1.0)
    assert [times.of(kind) for kind in (0, 4, 5)] == [0.0, 0.0, 1.0]
