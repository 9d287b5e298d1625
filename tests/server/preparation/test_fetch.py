"""`fetch`: verification, conversion, and an atomic move into place."""

import json
import shutil
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from stylewire_server.cli.main import main
from stylewire_server.models.full import Manifest, full, read_manifest
from stylewire_server.models.network import WeightsError
from stylewire_server.preparation.download import Progress
from stylewire_server.preparation.fetch import fetch
from stylewire_server.preparation.published import sha256
from stylewire_server.testing import until

pytest.importorskip("tensorflow")

FETCH = [sys.executable, "-m", "stylewire_server", "fetch"]


def packed(folder: Path, archive: Path) -> Path:
    """Return an archive of that folder. It is not compressed: that would take longer than the rest of a test."""
    with tarfile.open(archive, "w") as file:
        file.add(folder, arcname=".")
    return archive


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".fetch.lock"}


def test_files_that_differ_are_refused_by_name(saved_model: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"variables/variables\.index has sha256 \w+, expected ac7a95d7") as raised:
        fetch(tmp_path, source=saved_model)
    assert "saved_model.pb" not in str(raised.value)
    assert entries(tmp_path) == set()


@pytest.fixture
def converted_before(converted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The converted model. A conversion in this test takes its files, in place of a minute's work."""

    def convert(source: Path, folder: Path, manifest: Manifest, progress: Progress) -> None:
        assert (source / "saved_model.pb").is_file()
        progress("converting", 0.0)
        shutil.copytree(converted, folder, dirs_exist_ok=True)
        replace(manifest, sizes=read_manifest(converted).sizes).write(folder)

    monkeypatch.setattr("stylewire_server.preparation.fetch._convert", convert)
    return converted


def test_a_converted_model_says_how_close_it_is(converted: Path) -> None:
    manifest = read_manifest(converted)
    assert manifest.f32_db > 80
    assert set(manifest.sizes) == entries(converted) - {"manifest.json"}
    assert entries(converted.parent) == {"full"}


def test_verified_files_need_no_leave(saved_model: Path, converted_before: Path, tmp_path: Path) -> None:
    pins = {
        path.relative_to(saved_model).as_posix(): f"sha256:{sha256(path)}"
        for path in saved_model.rglob("*")
        if path.is_file()
    }
    stages: list[str] = []
    folder = fetch(tmp_path, source=saved_model, published=pins, progress=lambda stage, share: stages.append(stage))
    assert folder == tmp_path / "full"
    assert read_manifest(folder).verified is True
    assert entries(tmp_path) == {"full"}
    assert stages == ["verifying", "converting", "done"]

    # The same again is no work; files that are no longer the published ones are not the same.
    changed = (folder / "manifest.json").stat().st_mtime_ns
    stages.clear()
    fetch(tmp_path, source=saved_model, published=pins, progress=lambda stage, share: stages.append(stage))
    assert stages == ["verifying", "done"]
    assert (folder / "manifest.json").stat().st_mtime_ns == changed


def test_an_archive_replaces_what_was_there(saved_model: Path, converted_before: Path, tmp_path: Path) -> None:
    archive = packed(saved_model, tmp_path / "model.tar")
    target = tmp_path / "elsewhere" / "mine"
    target.mkdir(parents=True)
    (target / "manifest.json").write_text("{}")
    assert fetch(tmp_path / "unused", target=target, source=archive, allow_unverified=True) == target
    assert full(target).verified is False
    assert entries(target.parent) == {"mine"}
    assert not (tmp_path / "unused").exists()


# The long form kills it after a conversion too: most of a minute of TensorFlow, for the same way to clear up.
@pytest.mark.parametrize(
    "reached", ["raw/saved_model.pb", pytest.param("converted/transformer.xml", marks=pytest.mark.soak)]
)
def test_a_killed_fetch_leaves_nothing_half_made(saved_model: Path, tmp_path: Path, reached: str) -> None:
    archive = packed(saved_model, tmp_path / "model.tar")
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [*FETCH, "--cache", cache, "--from", archive, "--allow-unverified"], stderr=subprocess.DEVNULL
    )
    until(lambda: process.poll() is not None or list(cache.glob(f".fetch-*/{reached}")), reached, 280)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cache / "full").exists()
    assert len(entries(cache)) == 1

    # The next one clears up, even when it gets nothing itself.
    with pytest.raises(WeightsError):
        fetch(cache, source=tmp_path / "absent")
    assert entries(cache) == set()


def test_no_network_is_one_line_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    assert main(["fetch", "--cache", str(tmp_path), "--handle", "http://127.0.0.1:9/model/2"]) == 1
    out, errors = capfd.readouterr()
    assert out == ""
    line = errors.splitlines()[-1]
    assert line.startswith("stylewire_server: cannot download http://127.0.0.1:9/model/2: ")
    assert "fetch --from FILE" in line
    assert "Traceback" not in errors
    assert entries(tmp_path) == set()


def test_a_folder_that_cannot_be_is_one_line(saved_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    below = tmp_path / "file" / "below"
    assert main(["fetch", "--cache", str(tmp_path / "cache"), "--from", str(saved_model), "--to", str(below)]) == 1
    out, errors = capfd.readouterr()
    assert out == ""
    line = errors.splitlines()[-1]
    assert line.startswith("stylewire_server: ")
    assert str(tmp_path / "file") in line


def test_serving_needs_no_tensorflow(converted: Path) -> None:
    code = f"""
import sys, json
sys.modules["tensorflow"] = sys.modules["tensorflow_hub"] = None
import numpy as np
from pathlib import Path
from stylewire_server.runtime import service
from stylewire_server.engine.factory import start
from stylewire_server.models.select import open_network
from stylewire_server.testing import until
network = open_network({str(converted)!r}, Path("/nonexistent"))
engine = start(network, "openvino", "auto", 0, 1)
picture = np.random.default_rng(0).integers(0, 255, (1, 256, 256, 3), np.uint8)
made = engine.transform(picture, engine.predict(picture))
print(json.dumps([list(made.shape), float(made.std()) > 1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[1, 256, 256, 3], True]
