"""Progress of long commands on standard error: a bar on a terminal, one line a stage elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Yield a function to call with the name of the current stage and its completed share, 0 to 1."""
    # rich comes with keras and nncf, that is with the extras of the commands that use this.
    from rich.console import Console
    from rich.progress import Progress, TaskID

    console = Console(stderr=True)
    with Progress(console=console, transient=False, disable=not console.is_terminal) as bars:
        current: TaskID | None = None

        def report(stage: str, share: float) -> None:
            nonlocal current
            if current is None or bars.tasks[current].description != stage:
                current = bars.add_task(stage, total=1.0)
                if not console.is_terminal:
                    print(stage, file=sys.stderr, flush=True)
            bars.update(current, completed=share)

        yield report
