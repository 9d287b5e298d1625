"""What a long command is doing, on a terminal; in a file, one line a stage."""

import sys
from types import TracebackType
from typing import TextIO

_WIDTH = 30


class ProgressBar:
    """Called with what is being done and how much of it is done, 0..1, by any one thread at a time.

    Args:
        out: Where to; standard error if not given.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._stage = ""

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_line()

    def __call__(self, stage: str, share: float) -> None:
        """Shows that stage at that share."""
        if stage != self._stage:
            self._end_line()
            if not self._out.isatty():
                self._out.write(f"{stage}\n")
        self._stage = stage
        if self._out.isatty():
            filled = round(share * _WIDTH)
            bar = f" {'#' * filled}{'.' * (_WIDTH - filled)} {share:4.0%}" if share else " …"
            self._out.write(f"\r\x1b[K{stage}{bar}")
        self._out.flush()

    def _end_line(self) -> None:
        if self._stage and self._out.isatty():
            self._out.write("\n")
        self._stage = ""
