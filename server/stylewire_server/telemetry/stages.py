"""Tells whoever watches a call how long its stages took, without the stages knowing who that is.

The observer travels in the context (`contextvars`), which the scheduler carries into its worker threads.
"""

from collections.abc import Callable
from contextvars import ContextVar

Observer = Callable[[str, float, float], None]
"""Gets a stage's name ("queue", "decode", "predict", "transform", "encode"), and its start and end on the clock of
`time.perf_counter`, in seconds. Is called from several threads."""


def _nobody(stage: str, start: float, end: float) -> None:
    pass


observer: ContextVar[Observer] = ContextVar("observer", default=_nobody)


def finished(stage: str, start: float, end: float) -> None:
    """A stage of the current call is over."""
    observer.get()(stage, start, end)
