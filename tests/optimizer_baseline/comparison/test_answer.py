"""The number of evaluations that one pass is worth, on curves written by hand."""

import pytest

from optimizer_baseline.comparison.answer import Point, answer, number, seconds, summary
from optimizer_baseline.errors import InvalidOption

CURVE = [Point(1, 0.1, 100.0, 0, 100), Point(3, 0.3, 60.0, 1, 59), Point(4, 0.4, 40.0, 2, 38), Point(5, 0.5, 25, 3, 22)]


def test_reached_after_some_evaluations():
    found = answer(CURVE, pass_cost=50.0, pass_ms=20.0)
    assert (found.reached, found.evaluations, found.seconds) == ("after", 4, 0.4)
    assert found.speedup == pytest.approx(20.0)
    assert found.final_lower_percent == pytest.approx(50.0)
    assert found.sentence == (
        "One pass of 20 ms reaches the cost that L-BFGS reaches after 4 evaluations and 400 ms: 20 times faster; "
        "the optimizer's final cost is 50 % lower."
    )


def test_never_reached():
    found = answer(CURVE, pass_cost=20.0, pass_ms=20.0)
    assert (found.reached, found.evaluations, found.seconds, found.speedup) == ("never", None, None, None)
    assert "does not reach in 5 evaluations and 500 ms; the optimizer's final cost is 25 % higher" in found.sentence


def test_reached_at_once():
    found = answer(CURVE, pass_cost=100.0, pass_ms=20.0)
    assert (found.reached, found.evaluations, found.speedup) == ("at once", 1, None)
    assert "does not get below the cost that L-BFGS starts from" in found.sentence


def test_numbers_are_written_out():
    curve = [Point(1, 0.1, 100.0, 1, 99), Point(1500, 1234.0, 5.0, 1, 4)]
    assert "after 1500 evaluations and 1\u202f234 s: 1\u202f234 times faster" in answer(curve, 50.0, 999.7).sentence
    assert [number(value) for value in (999.4, 999.97, 1000.0, 0.123456, None)] == [
        "999",
        "1\u202f000",
        "1\u202f000",
        "0.123",
        "–",
    ]
    assert [seconds(value) for value in (0.25, 0.99999, 999.7)] == ["250 ms", "1 s", "1\u202f000 s"]


def test_a_pair_never_reached_does_not_flatter_the_median():
    pairs = [{"answer": answer(CURVE, cost, 20.0).as_dict()} for cost in (70.0, 50.0, 20.0)]
    found = summary(pairs)
    assert (found["reached_after"], found["reached_never"], found["reached_at_once"]) == (2, 1, 0)
    assert found["median_evaluations"] == 4  # of 3, 4 and beyond
    assert summary(pairs[2:])["median_evaluations"] is None
    assert summary([])["median_pass_ms"] is None


@pytest.mark.parametrize(("curve", "cost", "ms"), [([], 1.0, 1.0), (CURVE, 0.0, 1.0), (CURVE, 1.0, 0.0)])
def test_nonsense_is_refused(curve, cost, ms):
    with pytest.raises(InvalidOption):
        answer(curve, cost, ms)
