"""A progress bar on a terminal, by rich; nothing where the output goes elsewhere or rich is not installed."""

import sys
from types import TracebackType
from typing import Any


class Progress:
    """One line on standard error: bar, count, rate and time left. Use it in a `with` statement.

    Args:
        total: Things to do; None where it is not known.
        unit: What they are, in the plural.

    Attributes:
        done: How many are done.
    """

    def __init__(self, total: int | None, unit: str) -> None:
        self.done = 0
        self._bar = _bar(unit) if sys.stderr.isatty() else None
        self._task = None if self._bar is None else self._bar.add_task(unit, total=total)

    def step(self) -> None:
        """Note that one more is done."""
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
    """Return a bar of rich that is not shown yet; None where rich is not installed."""
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
        """Things a second."""

        def render(self, task: Any) -> str:
            return "" if task.speed is None else f"{task.speed:.1f} a second"

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), Rate(), TimeRemainingColumn(), TextColumn("left"))
    return Bar(*columns, console=Console(stderr=True))
