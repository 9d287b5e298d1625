"""Conformance tests with NVIDIA's client for the Open Inference Protocol, in its own environment."""

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest
from stylewire import Client

SCRIPT = Path(__file__).with_name("triton_calls.py")
PACKAGE = "tritonclient[grpc]==2.73.0"


@pytest.fixture(scope="module")
def triton_python(pytestconfig: pytest.Config) -> Path:
    """The Python of an environment with the client, which needs its own versions of grpcio and protobuf."""
    folder = Path(pytestconfig.cache.mkdir("tritonclient"))
    python, ready = folder / "bin" / "python", folder / PACKAGE
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot install {PACKAGE}: {done.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return python


def test_tritonclient_is_served(triton_python: Path, server, client: Client, photo: Path, style_picture: Path) -> None:
    client.styles.create("for-triton", style_picture, overwrite=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [triton_python, SCRIPT, server.target, photo, style_picture, "for-triton"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    client.styles.delete("for-triton")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["live"], seen["ready"], seen["model_ready"]) == (True, True, True)
    assert seen["server"] == "stylewire"
    assert seen["inputs"] == ["content", "style"]
    assert (seen["shape"], seen["dtype"]) == ([2, 40, 52, 3], "float32")
    assert 0 <= seen["range"][0] < seen["range"][1] <= 1
    assert seen["half_differs"] > 0.01
    assert seen["picture_head"] == "ffd8ff"
    assert seen["stream"] == ["0", "1", "2", "3", "4", None, "6", "7"]
    assert seen["stream_heads"] == ["ffd8ff"]
    assert "content is not a JPEG, PNG or WebP picture" in seen["stream_error"]
    assert seen["errors"] == {
        "model": "StatusCode.NOT_FOUND",
        "nan": "StatusCode.INVALID_ARGUMENT",
        "shape": "StatusCode.INVALID_ARGUMENT",
    }
