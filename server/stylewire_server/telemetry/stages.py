"""Reports the duration of each stage of a call to an observer. The code of a stage does not know the observer.

The observer is in a context variable (`contextvars`). The scheduler runs each job in the context of its call.
"""

from collections.abc import Callable
from contextvars import ContextVar

Observer = Callable[[str, float, float], None]
"""Function of a stage's name ("queue", "decode", "predict", "transform", "encode"), its start and its end in seconds
on the clock of `time.perf_counter`. It is called from several threads."""


def _ignore(stage: str, start: float, end: float) -> None:
    pass


observer: ContextVar[Observer] = ContextVar("observer", default=_ignore)


def finished(stage: str, start: float, end: float) -> None:
    """Report that a stage of the current call is over."""
    observer.get()(stage, start, end)
