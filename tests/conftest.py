"""Fixtures that several rooms share: pictures, and a real server process to talk to."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire import Client

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"

READY_SECONDS = 120


class ServerProcess:
    """`python -m stylewire_server serve --port 0 …` as a process of its own, ready to be called."""

    def __init__(self, *flags: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", *flags],
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
        self.port = int(self.target.rpartition(":")[2])

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def _await_banner(self) -> str:
        assert self.process.stdout is not None
        timer = threading.Timer(READY_SECONDS, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith("serving on "):
                    return line.strip()
        finally:
            timer.cancel()
        self.process.wait()
        self._reader.join(5)
        raise RuntimeError(f"the server ended with {self.process.returncode}:\n" + "\n".join(self.log))

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """Sends that signal and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reader.join(5)


@pytest.fixture(scope="session")
def start_server() -> Callable[..., ServerProcess]:
    """Starts a server process with those flags; the caller stops it."""
    return ServerProcess


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """The lite edition, for every test that leaves it as it found it."""
    running = ServerProcess("--model", "lite")
    yield running
    assert running.stop() == 0, "\n".join(running.log)


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of the shared server."""
    with Client(server.target, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def photo() -> Path:
    """A photograph, 512x512."""
    return EXAMPLES / "content" / "astronaut.jpg"


@pytest.fixture(scope="session")
def style_picture() -> Path:
    """A bold style."""
    return EXAMPLES / "style" / "waves.jpg"


@pytest.fixture(scope="session")
def other_style_picture() -> Path:
    """A style that is clearly different from the first."""
    return EXAMPLES / "style" / "shards.jpg"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test models and pictures beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: it holds the original model files and test pictures")
    return SHARED


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    """Pixels as a file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def pixels_of(path: Path, side: int = 256) -> np.ndarray:
    """A picture file as uint8 [side,side,3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
