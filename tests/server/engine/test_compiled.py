"""Compiled graphs kept between starts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from stylewire_server.engine import graph_cache
from stylewire_server.engine.base import EngineError
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite


def picture(kept: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    engine = OpenVinoEngine(lite(), kept=kept)
    return engine.transform(pixels, engine.predict(pixels.repeat(4, 1).repeat(4, 2)))


def graphs(kept: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in kept.glob("*.blob")}


def test_the_next_start_finds_them_and_makes_the_same_picture(tmp_path: Path) -> None:
    kept = tmp_path / "not there yet"
    first = picture(kept)
    files = graphs(kept)
    assert files
    np.testing.assert_array_equal(picture(kept), first)
    assert files.items() <= graphs(kept).items()


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_damaged_one_is_compiled_again(tmp_path: Path, place: float) -> None:
    first = picture(tmp_path)
    for name, data in graphs(tmp_path).items():
        start = int(place * (len(data) - 2000))
        (tmp_path / name).write_bytes(data[:start] + bytes(2000) + data[start + 2000 :])
    np.testing.assert_array_equal(picture(tmp_path), first)


def test_what_nobody_has_vouched_for_is_removed(tmp_path: Path) -> None:
    (tmp_path / "stray.blob").write_bytes(b"graph")
    (tmp_path / "sha256.json").write_text("[1]")
    (tmp_path / "other").write_text("not ours")
    graph_cache.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "sha256.json"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot keep compiled graphs in .*file: File exists"):
        OpenVinoEngine(lite(), kept=tmp_path / "file")


def test_those_who_clear_one_folder_at_once_do_not_stumble(tmp_path: Path) -> None:
    """Server processes that start together find what the others are removing."""
    for number in range(300):
        (tmp_path / f"{number}.blob").write_bytes(b"graph")
    barrier = threading.Barrier(8)

    def prune(_: int) -> None:
        barrier.wait()
        graph_cache.prune(tmp_path)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(prune, range(8)))
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_is_gone_when_it_is_read_is_left_out(tmp_path: Path) -> None:
    """A dangling link stands for a graph that was removed after the folder was listed."""
    (tmp_path / "sound.blob").write_bytes(b"graph")
    (tmp_path / "gone.blob").symlink_to("nowhere")
    graph_cache.seal(tmp_path)
    graph_cache.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sha256.json", "sound.blob"]
