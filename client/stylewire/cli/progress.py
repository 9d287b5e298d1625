"""A progress bar of rich. Nothing is shown if standard error is no terminal or rich is not installed."""

import sys
from types import TracebackType
from typing import Any


class Progress:
    """One line on standard error: bar, count, rate and time left. Use it in a `with` statement.

    Args:
        total: Number of items; None if it is not known.
        unit: Name of the items, in the plural.

    Attributes:
        done: Number of finished items.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        self.done = 0
        self._bar = _bar(unit) if sys.stderr.isatty() else None
        self._task = None if self._bar is None else self._bar.add_task(unit, total=total)

    def step(self) -> None:
        """Count one more finished item."""
        self.done += 1
        if self._bar is not None:
            self._bar.advance(self._task)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(unit: str) -> Any:
    """Return a bar of rich that is not shown yet; None if rich is not installed."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
    except ImportError:
        return None

    class Rate(ProgressColumn):
        """A column with the items per second."""

        def render(self, task: Any) -> str:
            return "" if task.speed is None else f"{task.speed:.1f} a second"

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), Rate(), TimeRemainingColumn(), TextColumn("left"))
    return Bar(*columns, console=Console(stderr=True))
