"""A progress bar on a terminal; nothing where the output goes elsewhere."""

import sys
import time
from types import TracebackType

_WIDTH = 30

_SECONDS = 0.1
"""Between two drawings."""


class Progress:
    """One line on stderr: bar, count, rate and time left. Use it as a context.

    Args:
        total: Things to do; None where it is not known.
        unit: What they are, in the plural.

    Attributes:
        done: How many are done.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        self._total = total
        self._unit = unit
        self.done = 0
        self._start = time.monotonic()
        self._drawn = 0.0
        self._visible = sys.stderr.isatty()

    def step(self) -> None:
        """One more is done."""
        self.done += 1
        now = time.monotonic()
        if self._visible and (now - self._drawn > _SECONDS or self.done == self._total):
            self._drawn = now
            print(f"\r{self._line(now)}\x1b[K", end="", file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        """A line of its own on stderr, above the bar."""
        print(f"\r\x1b[K{message}" if self._visible else message, file=sys.stderr)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._visible and self._drawn:
            print(file=sys.stderr)

    def _line(self, now: float) -> str:
        rate = self.done / max(now - self._start, 1e-9)
        if self._total is None:
            return f"{self.done} {self._unit}, {rate:.1f} a second"
        filled = round(_WIDTH * self.done / self._total) if self._total else _WIDTH
        left = (self._total - self.done) / rate
        bar = "#" * filled + "." * (_WIDTH - filled)
        return f"[{bar}] {self.done}/{self._total} {self._unit}, {rate:.1f} a second, {left:.0f} s left"
