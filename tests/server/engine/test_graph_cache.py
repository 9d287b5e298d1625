"""Compiled graphs kept between starts."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stylewire_server.engine import graph_cache
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite
from stylewire_server.models.network import Network

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
VECTOR = np.random.default_rng(1).normal(0, 0.1, (1, 100)).astype(np.float32)


def picture(kept: Path | None, network: Network | None = None) -> np.ndarray:
    """Return a picture from an engine that keeps its graphs in the folder. The predictor's graph is not needed."""
    return OpenVinoEngine(network or lite(), kept=kept).transform(PIXELS, VECTOR)


def graphs(kept: Path) -> list[Path]:
    return sorted(kept.glob("*.graph"))


def refuse(*_: object) -> None:
    raise AssertionError("the graph is read, although it is kept")


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """The picture without a cache."""
    return picture(None)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Name -> content of the kept graph."""
    kept = tmp_path_factory.mktemp("filled")
    picture(kept)
    return {path.name: path.read_bytes() for path in graphs(kept)}


def test_the_next_start_reads_no_graph_and_makes_the_same_picture(tmp_path: Path, expected: np.ndarray) -> None:
    kept = tmp_path / "not there" / "yet"
    np.testing.assert_array_equal(picture(kept), expected)
    square = PIXELS.repeat(4, 1).repeat(4, 2)
    vector = OpenVinoEngine(lite(), kept=kept).predict(square)
    np.testing.assert_array_equal(vector, OpenVinoEngine(lite()).predict(square))
    files = {path: path.read_bytes() for path in kept.iterdir()}
    assert len(files) == 2
    assert not kept.stat().st_mode & 0o077
    assert not any(path.stat().st_mode & 0o077 for path in files)
    unreadable = replace(lite(), predictor=refuse, transformer=refuse)
    engine = OpenVinoEngine(unreadable, kept=kept)
    np.testing.assert_array_equal(engine.transform(PIXELS, VECTOR), expected)
    np.testing.assert_array_equal(engine.predict(square), vector)
    assert {path: path.read_bytes() for path in kept.iterdir()} == files


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def overwrite(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(2000) + data[middle + 2000 :]


def from_elsewhere(data: bytes) -> bytes:
    """Return a file with the right checksum whose graph OpenVINO refuses."""
    graph = b"graph of another build" * 1000
    return hashlib.sha256(graph).digest() + graph


@pytest.mark.parametrize("damage", [cut, overwrite, from_elsewhere, lambda _: b""])
def test_a_damaged_graph_is_compiled_again(
    tmp_path: Path, filled: dict[str, bytes], expected: np.ndarray, damage: Callable[[bytes], bytes]
) -> None:
    for name, data in filled.items():
        (tmp_path / name).write_bytes(damage(data))
    np.testing.assert_array_equal(picture(tmp_path), expected)
    assert [path.name for path in graphs(tmp_path)] == sorted(filled)
    np.testing.assert_array_equal(picture(tmp_path, replace(lite(), transformer=refuse)), expected)


@pytest.mark.parametrize("folder", ["file/folder", "/proc/self/folder"])
def test_a_folder_that_cannot_be_written_is_survived(tmp_path: Path, expected: np.ndarray, folder: str) -> None:
    (tmp_path / "file").write_text("")
    np.testing.assert_array_equal(picture(tmp_path / folder), expected)


def others_write_the_folder(kept: Path) -> None:
    kept.chmod(0o770)


def others_write_the_files(kept: Path) -> None:
    for path in graphs(kept):
        path.chmod(0o666)


def others_own_the_folder(kept: Path) -> None:
    os.chown(kept, 12345, -1)


def others_own_the_files(kept: Path) -> None:
    for path in graphs(kept):
        os.chown(path, 12345, -1)


def link_the_folder(kept: Path) -> None:
    kept.rename(kept.with_name("elsewhere"))
    kept.symlink_to("elsewhere")


def link_the_files(kept: Path) -> None:
    for path in graphs(kept):
        path.rename(path.with_suffix(".moved"))
        path.symlink_to(path.with_suffix(".moved").name)


@pytest.mark.parametrize(
    "expose",
    [
        others_write_the_folder,
        others_write_the_files,
        others_own_the_folder,
        others_own_the_files,
        link_the_folder,
        link_the_files,
    ],
)
def test_a_graph_that_others_could_have_written_is_not_loaded(
    tmp_path: Path, filled: dict[str, bytes], expose: Callable[[Path], None]
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(0o700)
    for name, data in filled.items():
        (kept / name).write_bytes(data)
        (kept / name).chmod(0o600)
    try:
        expose(kept)
    except PermissionError:
        pytest.skip("only root gives files to other users")
    with pytest.raises(AssertionError, match="the graph is read"):
        picture(kept, replace(lite(), transformer=refuse))


def test_other_graphs_and_properties_have_other_files(tmp_path: Path) -> None:
    picture(tmp_path)
    picture(tmp_path, replace(lite(), identity="another network"))
    OpenVinoEngine(lite(), threads=1, kept=tmp_path)
    assert len(graphs(tmp_path)) == 3
    picture(tmp_path, replace(lite(), identity=""))
    assert len(graphs(tmp_path)) == 3


def test_the_oldest_files_go_first(tmp_path: Path, filled: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(("newer", "older", "oldest"), 1):
        (tmp_path / name).write_bytes(bytes(1000))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(graph_cache, "MAX_BYTES", sum(map(len, filled.values())) + 2500)
    picture(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*filled, "newer", "older"}


def test_engines_that_start_together_share_one_folder(tmp_path: Path, expected: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(picture, [tmp_path] * 4):
            np.testing.assert_array_equal(found, expected)
    assert len(list(tmp_path.iterdir())) == 1
