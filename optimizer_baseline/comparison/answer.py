"""The answer for one pair to the question: how many iterations of the optimizer is one pass worth?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InvalidOption

AFTER, AT_ONCE, NEVER = "after", "at once", "never"


@dataclass(frozen=True)
class Point:
    """The costs after some evaluations and seconds of the optimizer; total = content + style + variation."""

    evaluations: int
    seconds: float
    total_cost: float
    content_cost: float
    style_cost: float


@dataclass(frozen=True)
class Answer:
    """One pass against one run of the optimizer, under the cost that the optimizer minimizes.

    Attributes:
        reached: "after" some evaluations; "at once" if the optimizer's start costs no more than the pass; or "never".
        evaluations, seconds: Evaluations and seconds until the optimizer costs no more than the pass; None for "never".
        speedup: seconds divided by the seconds of one pass; None unless reached "after".
        final_lower_percent: Percent by which the optimizer's final cost is below that of the pass; negative above it.
    """

    reached: str
    evaluations: int | None
    seconds: float | None
    speedup: float | None
    final_lower_percent: float
    pass_ms: float
    pass_cost: float
    final_cost: float
    total_evaluations: int
    total_seconds: float

    @property
    def sentence(self) -> str:
        """The answer as a sentence."""
        first = f"One pass of {seconds(self.pass_ms / 1e3)}"
        if self.reached == AT_ONCE:
            head = f"{first} does not get below the cost that L-BFGS starts from, the content picture itself"
        elif self.reached == NEVER:
            head = (
                f"{first} reaches a cost that L-BFGS does not reach in {self.total_evaluations} evaluations and "
                f"{seconds(self.total_seconds)}"
            )
        else:
            head = (
                f"{first} reaches the cost that L-BFGS reaches after {self.evaluations} evaluations and "
                f"{seconds(self.seconds)}: {number(self.speedup)} times faster"
            )
        lower = self.final_lower_percent
        return f"{head}; the optimizer's final cost is {abs(lower):.3g} % {'lower' if lower >= 0 else 'higher'}."

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and the sentence, ready for JSON."""
        return {**asdict(self), "sentence": self.sentence}


def answer(curve: Sequence[Point], pass_cost: float, pass_ms: float) -> Answer:
    """Compare a pass of `pass_ms` milliseconds and `pass_cost` with a run: its start first, then every iteration.

    Raises:
        InvalidOption: The curve is empty, or the time or cost of the pass is not above 0.
    """
    if not curve:
        raise InvalidOption("the optimizer's curve has no point; at least its start is needed")
    if pass_ms <= 0 or pass_cost <= 0:
        raise InvalidOption(f"a pass took {pass_ms} ms and costs {pass_cost}; both are above 0")
    final = min(point.total_cost for point in curve)
    hit = next((point for point in curve if point.total_cost <= pass_cost), None)
    reached = NEVER if hit is None else AT_ONCE if hit is curve[0] else AFTER
    return Answer(
        reached=reached,
        evaluations=hit.evaluations if hit else None,
        seconds=hit.seconds if hit else None,
        speedup=hit.seconds * 1e3 / pass_ms if hit and reached == AFTER else None,
        final_lower_percent=100.0 * (1.0 - final / pass_cost),
        pass_ms=pass_ms,
        pass_cost=pass_cost,
        final_cost=final,
        total_evaluations=curve[-1].evaluations,
        total_seconds=curve[-1].seconds,
    )


def summary(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return medians over the pairs of a results file.

    A pair whose cost the optimizer never reached counts as infinite, because leaving it out would favor the optimizer.
    Pairs "at once" are left out. A median that is infinite, or over no pairs, is None.
    """
    answers = [pair["answer"] for pair in pairs]

    def median(key: str) -> float | None:
        values = [a[key] if a[key] is not None else math.inf for a in answers if a["reached"] != AT_ONCE]
        middle = statistics.median(values) if values else math.inf
        return middle if math.isfinite(middle) else None

    return {
        "pairs": len(pairs),
        "reached_after": sum(a["reached"] == AFTER for a in answers),
        "reached_at_once": sum(a["reached"] == AT_ONCE for a in answers),
        "reached_never": sum(a["reached"] == NEVER for a in answers),
        **{f"median_{key}": median(key) for key in ("pass_ms", "evaluations", "seconds", "speedup")},
        "median_final_lower_percent": median("final_lower_percent"),
    }


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with three significant digits, without an exponent if that is short; a dash for None."""
    if value is None:
        return "–"
    if 1000 <= round(abs(value)) < 1e6:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def seconds(value: float | None) -> str:
    """Return seconds with their unit, as milliseconds under one second."""
    if value is None:
        return "–"
    return f"{number(value * 1e3)} ms" if round(value, 4) < 1 else f"{number(value)} s"
