"""The curve of cost over time as inline SVG. Both axes are logarithmic, so that a speed-up is a length.

The SVG is not from matplotlib, because the page's style sheet colors this one for light and dark screens, its lines and
dots have tooltips, and it has a tenth of the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .answer import number

WIDTH, HEIGHT = 460.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 14.0, 16.0, 40.0


@dataclass(frozen=True)
class Trace:
    """The curve of one pair: the optimizer's (seconds, cost / cost of the pass), the pass, and their crossing."""

    name: str
    points: Sequence[tuple[float, float]]
    pass_seconds: float
    meets: float | None


def cost_curve(traces: Sequence[Trace]) -> str:
    """Return an <svg> of `traces`, colored by the page's CSS classes (axis, grid, run, pass, gap)."""
    seconds = [s for t in traces for s, _ in t.points] + [t.pass_seconds for t in traces]
    ratios = [r for t in traces for _, r in t.points] + [1.0]
    x = _Scale(min(seconds) * 0.6, max(seconds) * 1.25, LEFT, WIDTH - RIGHT)
    y = _Scale(min(ratios) * 0.8, max(ratios) * 1.15, HEIGHT - BOTTOM, TOP)
    single = len(traces) == 1
    label = f"Cost against time: {traces[0].name}" if single else f"Cost against time of {len(traces)} pairs"
    parts = [f'<svg class="curve" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(label)}">']
    for tick in x.decades():
        parts.append(_line("grid", x(tick), TOP, x(tick), HEIGHT - BOTTOM))
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 16, _duration(tick), "middle"))
    for tick in y.ticks():
        parts.append(_line("grid", LEFT, y(tick), WIDTH - RIGHT, y(tick)))
        parts.append(_text(LEFT - 6, y(tick) + 4, f"{tick:g}", "end"))
    parts.append(_line("level", LEFT, y(1.0), WIDTH - RIGHT, y(1.0)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, "seconds, logarithmic", "middle"))
    parts.append(f'<text class="axis" x="4" y="{TOP - 5:.0f}">cost ÷ cost of the pass</text>')
    for trace in traces:
        path = " ".join(f"{x(s):.1f},{y(r):.1f}" for s, r in trace.points)
        parts.append(f'<polyline class="run" points="{path}"><title>{escape(trace.name)}</title></polyline>')
    for trace in traces:
        if trace.meets is not None and single:
            parts.append(_line("gap", x(trace.pass_seconds), y(1.0), x(trace.meets), y(1.0)))
            middle = (x(trace.pass_seconds) + x(trace.meets)) / 2
            speedup = trace.meets / trace.pass_seconds
            parts.append(_text(middle, y(1.0) - 7, f"× {number(speedup)}", "middle", "factor"))
        if trace.meets is not None:
            parts.append(_dot("meets", x(trace.meets), y(1.0), 4 if single else 3, trace.name))
        parts.append(_dot("pass", x(trace.pass_seconds), y(1.0), 6 if single else 4, f"{trace.name}: one pass"))
    return "".join([*parts, "</svg>"])


class _Scale:
    """A logarithmic scale from values to positions."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._high = low, high
        self._first = first
        self._factor = (last - first) / (math.log(high) - math.log(low))

    def __call__(self, value: float) -> float:
        return self._first + (math.log(value) - math.log(self._low)) * self._factor

    def decades(self) -> list[float]:
        first, last = math.ceil(math.log10(self._low)), math.floor(math.log10(self._high))
        return [10.0**k for k in range(first, last + 1)]

    def ticks(self) -> list[float]:
        """Return powers of ten, with 2 and 5 between them if the span is short."""
        short = self._high / self._low < 200
        first, last = math.floor(math.log10(self._low)), math.ceil(math.log10(self._high))
        values = [m * 10.0**k for k in range(first, last + 1) for m in ((1, 2, 5) if short else (1,))]
        return [v for v in values if self._low <= v <= self._high]


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:g} ms" if seconds < 1 else f"{seconds:g} s"


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(kind: str, x: float, y: float, radius: float, title: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(title)}</title></circle>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "axis") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
