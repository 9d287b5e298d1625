"""Numbers as a reader wants them."""

from __future__ import annotations


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent where that is short; a dash for None."""
    if value is None:
        return "–"
    if 1000 <= round(abs(value)) < 1e6:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def seconds(value: float | None) -> str:
    """Seconds with their unit, as milliseconds under one second."""
    if value is None:
        return "–"
    return f"{number(value * 1e3)} ms" if round(value, 4) < 1 else f"{number(value)} s"
