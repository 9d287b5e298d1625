"""`fetch`: verified, converted, in place at once or not at all."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from stylewire_server.models.full import full, read_manifest
from stylewire_server.models.network import WeightsError
from stylewire_server.preparation.fetch import fetch
from stylewire_server.preparation.published import sha256

pytest.importorskip("tensorflow")

FETCH = [sys.executable, "-m", "stylewire_server", "fetch"]


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".fetch.lock"}


def test_files_that_differ_are_refused_by_name(saved_model: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"variables/variables\.index has sha256 \w+, expected ac7a95d7") as raised:
        fetch(tmp_path, source=saved_model)
    assert "saved_model.pb" not in str(raised.value)
    assert entries(tmp_path) == set()


def test_verified_files_need_no_leave(saved_model: Path, tmp_path: Path) -> None:
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
    assert stages == ["verifying", "converting", "checking", "done"]

    # The same again is no work; files that are no longer the published ones are not the same.
    changed = (folder / "manifest.json").stat().st_mtime_ns
    stages.clear()
    fetch(tmp_path, source=saved_model, published=pins, progress=lambda stage, share: stages.append(stage))
    assert stages == ["verifying", "done"]
    assert (folder / "manifest.json").stat().st_mtime_ns == changed


def test_an_archive_replaces_what_was_there(saved_model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(saved_model, arcname=".")
    target = tmp_path / "elsewhere" / "mine"
    target.mkdir(parents=True)
    (target / "manifest.json").write_text("{}")
    assert fetch(tmp_path / "unused", target=target, source=archive, allow_unverified=True) == target
    assert full(target).verified is False
    assert entries(target.parent) == {"mine"}
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("reached", ["raw/saved_model.pb", "converted/transformer.xml"])
def test_a_killed_fetch_leaves_nothing_half_made(saved_model: Path, tmp_path: Path, reached: str) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=0) as file:
        file.add(saved_model, arcname=".")
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [*FETCH, "--cache", cache, "--from", archive, "--allow-unverified"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(cache.glob(f".fetch-*/{reached}")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cache / "full").exists()
    assert len(entries(cache)) == 1

    # The next one clears up, even when it gets nothing itself.
    with pytest.raises(WeightsError):
        fetch(cache, source=tmp_path / "absent")
    assert entries(cache) == set()


def test_no_network_is_one_line_with_the_cure(tmp_path: Path) -> None:
    done = subprocess.run(
        [*FETCH, "--cache", tmp_path, "--handle", "http://127.0.0.1:9/model/2"],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "TFHUB_CACHE_DIR"},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("stylewire_server: cannot download http://127.0.0.1:9/model/2: ")
    assert "fetch --from FILE" in line
    assert entries(tmp_path) == set()


def test_a_folder_that_cannot_be_is_one_line(saved_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = subprocess.run(
        [*FETCH, "--cache", tmp_path / "cache", "--from", saved_model, "--to", tmp_path / "file" / "below"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("stylewire_server: ")
    assert str(tmp_path / "file") in line


def test_serving_needs_no_tensorflow(converted: Path) -> None:
    code = f"""
import sys, json
sys.modules["tensorflow"] = sys.modules["tensorflow_hub"] = None
import numpy as np
from pathlib import Path
from stylewire_server import app
from stylewire_server.engine.start import start
from stylewire_server.weights.select import open_network
network = open_network({str(converted)!r}, Path("/nonexistent"))
engine = start(network, "openvino", "auto", 0, 1)
picture = np.random.default_rng(0).integers(0, 255, (1, 256, 256, 3), np.uint8)
made = engine.transform(picture, engine.predict(picture))
print(json.dumps([list(made.shape), float(made.std()) > 1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[1, 256, 256, 3], True]
