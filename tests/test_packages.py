"""The packages as they would be published: built, installed into empty environments, run."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("stylewire", "stylewire-server", "stylewire-baseline")


def run(*command: object, cwd: Path = ROOT, expected: int = 0) -> str:
    """Return both outputs of a command after a check of its exit code."""
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=280)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that is built from it."""
    pytest.importorskip("build", reason="needs build, from the extra dev")
    pytest.importorskip("hatchling", reason="needs hatchling, from the extra dev")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


def pip(environment: Path) -> tuple[object, ...]:
    """Return how this interpreter's pip is called for another environment, which then needs none of its own."""
    return sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "--disable-pip-version-check"


@pytest.fixture(scope="module")
def client_only(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and no extra."""
    folder = tmp_path_factory.mktemp("client")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    fetch = [*pip(folder), "--quiet", "download", "--no-deps", "--dest", folder, "protobuf"]
    done = subprocess.run([*map(str, fetch)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package index in reach: {done.stderr[-200:]}")
    (wheel,) = packages.glob("*.whl")
    run(*pip(folder), "--quiet", "install", "--no-compile", wheel)
    return folder


def test_the_wheel_has_what_its_users_need(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"{package}/py.typed" for package in ("stylewire", "stylewire_server", "optimizer_baseline")} <= names
    assert {"stylewire/v1/stylizer.proto", "stylewire/oip/open_inference.proto"} <= names
    assert {"stylewire/v1/stylizer_pb2.pyi", "stylewire_server/web/index.html"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "examples"))]


def test_the_sdist_has_its_tests_and_nothing_built(packages: Path) -> None:
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "README.md", "tests/conftest.py", "examples/content/coffee.jpg"} <= names
    assert not [name for name in names if name.startswith(("out/", ".venv")) or "node_modules" in name]


def test_both_pass_the_check_of_their_metadata(packages: Path) -> None:
    pytest.importorskip("twine", reason="needs twine, from the extra dev")
    run(sys.executable, "-m", "twine", "check", "--strict", *packages.iterdir())


def test_the_client_alone_is_small_and_its_commands_run(client_only: Path) -> None:
    commands = client_only / "bin"
    listed = run(*pip(client_only), "list", "--format", "freeze").lower()
    assert not [name for name in ("numpy", "openvino", "tensorflow", "scipy", "pydantic") if f"{name}==" in listed]
    assert "stylize" in run(commands / "stylewire", "--help")
    assert run(commands / "stylewire", "--version").startswith("stylewire ")
    # The other two say what to install, and with which command.
    assert "pip install 'stylewire[server]'" in run(commands / "stylewire-server", "serve", expected=1)
    assert "pip install 'stylewire[baseline]'" in run(
        commands / "stylewire-baseline", "stylize", "a.jpg", "b.jpg", expected=1
    )


def test_the_client_alone_stylizes_pictures_and_animations(client_only: Path, server: Any, tmp_path: Path) -> None:
    style, moving = ROOT / "examples" / "style" / "waves.jpg", tmp_path / "in.gif"
    with Image.open(ROOT / "examples" / "content" / "coffee.jpg") as photo:
        frames = [photo.resize((120, 80)).rotate(angle) for angle in (0, 20, 40)]
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=100)
    command = (client_only / "bin" / "stylewire", "--target", server.target)
    run(*command, "stylize", moving, style, "-o", tmp_path / "out.png", "--fit", "keep")
    run(*command, "video", moving, "--style", style, "-o", tmp_path / "out.gif")
    for name, expected in (("out.png", 1), ("out.gif", 3)):
        with Image.open(tmp_path / name) as picture:
            assert (getattr(picture, "n_frames", 1), picture.width > 100) == (expected, True)


def test_a_typed_caller_passes_strict_checks(client_only: Path) -> None:
    pytest.importorskip("mypy", reason="needs mypy, from the extra dev")
    mypy = (
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--python-executable",
        client_only / "bin" / "python",
    )
    run(*mypy, ROOT / "examples" / "typed_service.py", cwd=client_only)


def test_a_server_from_the_wheel_serves_the_client_from_the_wheel(
    packages: Path, client_only: Path, tmp_path: Path
) -> None:
    """The last test here, because it adds the server to the client's environment."""
    (wheel,) = packages.glob("*.whl")
    run(*pip(client_only), "--quiet", "install", "--no-compile", f"{wheel}[server]")
    commands = client_only / "bin"
    photo, style = ROOT / "examples" / "content" / "coffee.jpg", ROOT / "examples" / "style" / "waves.jpg"
    code = (
        "import subprocess, sys\n"
        "from stylewire_server.testing import running_server\n"
        "with running_server('--model', 'lite') as server:\n"
        f"    done = subprocess.run([{str(commands / 'stylewire')!r}, '--target', server.target, 'stylize',\n"
        f"                           {str(photo)!r}, {str(style)!r}, '-o', 'out.jpg'])\n"
        "sys.exit(done.returncode)\n"
    )
    run(commands / "python", "-c", code, cwd=tmp_path)
    assert (tmp_path / "out.jpg").stat().st_size > 1000
