"""The progress bar of long runs: steps, costs and time, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_WIDE = 100
"""Columns of a terminal in which the bar has room for every cost."""


class ShowStep(Protocol):
    """Shows where a run is."""

    def __call__(self, name: str, step: int, steps: int, costs: str, more: str = "") -> None:
        """Show a step.

        Args:
            name: What is done.
            step, steps: Steps that are done, and all steps.
            costs: Costs so far.
            more: Further costs, for wide terminals.
        """


@contextmanager
def cost_bar(quiet: bool) -> Iterator[ShowStep]:
    """Yield a function that shows each step on a bar; with `quiet` it shows nothing."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[costs]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet, expand=True) as bar:
        task = bar.add_task("preparing", total=None, costs="")

        def show(name: str, step: int, steps: int, costs: str, more: str = "") -> None:
            text = costs + more if console.width >= _WIDE else costs
            bar.update(task, description=name, completed=step, total=steps, costs=text)

        yield show
