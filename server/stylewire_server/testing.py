"""Helpers for tests, benchmarks and demos: a server process, and waiting for a condition.

with running_server("--model", "lite") as server:
    until(lambda: "ready" in server.log[-1], "the log says so")
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_BANNER = "serving on "

_READY_SECONDS = 300.0
"""Time limit for loading and compiling the model; the full edition takes 20 s on two slow cores that are idle."""

_STOP_SECONDS = 60.0
"""Time limit for the exit after a signal; the default grace period is 30 s."""


_POLL_SECONDS = 0.02


def until(condition: Callable[[], T], what: str = "the condition holds", seconds: float = 120.0) -> T:
    """Wait until a condition holds, and return its value.

    Args:
        condition: Called again and again until it returns something true.
        what: The condition in words, for the error.
        seconds: The time limit. It is there to end a failed test, not to measure.

    Raises:
        AssertionError: The condition did not hold within the time limit.
    """
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(_POLL_SECONDS)
    return value


class ServerNotReady(RuntimeError):
    """The server ended or printed no banner in time. The message has its exit code and its log."""


class ServerProcess:
    """A server process, `python -m stylewire_server serve --port 0 …`, that is ready for calls.

    Args:
        flags: Further flags of `serve`; a later `--port` replaces the free port.
        env: Environment variables in addition to those of this process.
        command: Another program that prints the same banner, in place of the server.

    Attributes:
        banner: The line that the server prints when it is ready.
        target: HOST:PORT of the gRPC port.
        port: Number of the gRPC port.
        url: URL of the page, as http://HOST:PORT/; empty without `--http-port`.
        log: Lines of standard error so far.
        process: The server process.

    Raises:
        ServerNotReady: It did not become ready within 300 seconds.
    """

    def __init__(self, *flags: object, env: Mapping[str, str] | None = None, command: tuple[str, ...] = ()) -> None:
        command = command or (sys.executable, "-m", "stylewire_server", "serve", "--port", "0")
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, *map(str, flags)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.banner = self._await_banner()
        self.target = self.banner.split()[2]
        self.url = next((part.removeprefix("http=") for part in self.banner.split() if part.startswith("http=")), "")
        port = self.target.rpartition(":")[2]
        self.port = int(port) if port.isdecimal() else 0

    @property
    def proc(self) -> Path:
        """The folder of the process in /proc (Linux)."""
        return Path("/proc", str(self.process.pid))

    def stop(self, number: int = signal.SIGTERM, timeout: float = _STOP_SECONDS) -> int:
        """Send a signal, wait for the end and return the exit code.

        Args:
            number: The signal.
            timeout: Seconds; after them the process is killed.

        Raises:
            subprocess.TimeoutExpired: It had to be killed.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(5)
            if self.process.stdout is not None:
                self.process.stdout.close()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.log.append(line.rstrip("\n"))

    def _await_banner(self) -> str:
        assert self.process.stdout is not None
        timer = threading.Timer(_READY_SECONDS, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith(_BANNER):
                    return line.strip()
        finally:
            timer.cancel()
        self.process.wait()
        self._reader.join(5)
        raise ServerNotReady(f"the server ended with exit code {self.process.returncode}:\n" + "\n".join(self.log))


@contextmanager
def running_server(
    *flags: object, env: Mapping[str, str] | None = None, command: tuple[str, ...] = ()
) -> Iterator[ServerProcess]:
    """Start a server, yield it when it is ready, and stop it when the block is left. Arguments as `ServerProcess`."""
    server = ServerProcess(*flags, env=env, command=command)
    try:
        yield server
    finally:
        server.stop()
