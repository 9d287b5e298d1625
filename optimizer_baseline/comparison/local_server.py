"""A stylewire server of one's own: a child process, for as long as it is needed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..feedforward import FeedForwardError

READY_SECONDS = 120.0
STOP_SECONDS = 30.0
BANNER = "serving on "


@dataclass(frozen=True)
class LocalServer:
    """Where it listens (HOST:PORT), and its process."""

    target: str
    pid: int


@contextmanager
def local_server(model: str = "auto", flags: Sequence[str] = ()) -> Iterator[LocalServer]:
    """`python -m stylewire_server serve --port 0 --model MODEL FLAGS…`, ready; stopped when the block is left.

    Raises:
        FeedForwardError: it ended, or was not ready within 120 s; with its last word.
    """
    command = [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", "--model", model, *flags]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603 -- own module
        try:
            target = _await_banner(process)
            if target is None:
                process.wait()
                log.seek(0)
                last = (log.read().strip().splitlines() or ["it said nothing"])[-1]
                raise FeedForwardError(f"the server for --model {model} did not become ready: {last}")
            yield LocalServer(target, process.pid)
        finally:
            _stop(process)


def _await_banner(process: subprocess.Popen[str]) -> str | None:
    """HOST:PORT of the first line that begins with the banner; None if the process ends or takes too long."""
    assert process.stdout is not None
    timer = threading.Timer(READY_SECONDS, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            if line.startswith(BANNER):
                return line[len(BANNER) :].split()[0]
    finally:
        timer.cancel()
    return None


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
