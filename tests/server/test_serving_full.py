"""The full model behind a real server process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire import Client
from stylewire_server.engine.factory import start
from stylewire_server.imaging.codec import load
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.models.full import full, read_manifest

pytest.importorskip("tensorflow")


def test_auto_serves_the_full_model_once_it_is_fetched(
    start_server: Callable, converted: Path, photo: Path, style_picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").symlink_to(converted)
    running = start_server(env={"STYLEWIRE_CACHE": str(tmp_path)})
    try:
        with Client(running.target, timeout=60) as client:
            model = client.model()
            made = client.stylize(photo, style_picture)
        assert (model.edition, model.engine, model.style_dimension) == ("full", "openvino", 768)
        assert model.precision in {"f32", "bf16"}
        assert model.verified is False
        assert model.weights_sha256 == read_manifest(converted).sha256
        assert made.size == (256, 256)
        assert np.asarray(made).std() > 5
    finally:
        assert running.stop() == 0
    (line,) = [line for line in running.log if "model full on openvino in" in line]
    assert "its files are not the published ones" in line


def test_the_reference_engine_serves_the_picture_of_the_other(
    start_server: Callable, converted: Path, photo: Path, style_picture: Path
) -> None:
    with Image.open(photo) as image:
        content = np.asarray(image.convert("RGB").resize((131, 94)))
    flags = ("--model", str(converted), "--engine", "tensorflow", "--precision", "f32")
    running = start_server(*flags)
    try:
        with Client(running.target, timeout=120) as client:
            assert client.model().engine == "tensorflow"
            served = np.asarray(client.stylize(content, style_picture, fit="native", encoding="png"), np.int16)
    finally:
        assert running.stop() == 0
    assert served.shape == content.shape
    engine = start(full(converted), "openvino", "f32", threads=0, streams=1)
    style = load(style_picture.read_bytes(), Fit.SQUASH_256, ImageLimits(), "style").pixels
    expected = engine.transform(content[np.newaxis], engine.predict(style[np.newaxis]))
    assert np.abs(served - expected[0]).max() <= 1


def test_lite_says_how_to_get_the_full_model(start_server: Callable, tmp_path: Path) -> None:
    running = start_server(env={"STYLEWIRE_CACHE": str(tmp_path)})
    assert running.stop() == 0
    (line,) = [line for line in running.log if "model lite on openvino in" in line]
    assert "python -m stylewire_server fetch" in line


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        (["--model", "full"], "get it: python -m stylewire_server fetch"),
        (["--model", "/nonexistent"], "holds no converted model"),
        (["--model", "lite", "--engine", "tensorflow"], "run it with --engine openvino"),
    ],
)
def test_what_cannot_be_served_is_one_line_with_the_cure(tmp_path: Path, flags: list[str], cure: str) -> None:
    command = [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", "--cache", str(tmp_path), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("stylewire_server: ")
    assert cure in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.soak
def test_a_style_that_was_tuned_for_the_full_model_is_served(
    start_server: Callable, converted: Path, style_picture: Path, tmp_path: Path
) -> None:
    from optimizer_baseline import TuneSettings, tune

    settings = TuneSettings(model=str(converted), weights="random:1", steps=8, size=64, learning_rate=0.02)
    made = tune(style_picture, settings=settings)
    assert len(made.tuning) == 10_438
    assert made.after.cost < made.before.cost
    (tmp_path / "wave.style").write_bytes(made.file())
    running = start_server("--model", str(converted), "--precision", "f32", "--styles", str(tmp_path))
    try:
        _, untuned, tuned = (np.asarray(each, float) for each in made.pictures[0])
        with Client(running.target, timeout=60) as client:
            served = np.asarray(client.stylize(made.pictures[0][0], "wave", encoding="png"), float)
    finally:
        assert running.stop() == 0
    assert np.abs(served - tuned).max() <= 2
    assert np.abs(tuned - untuned).mean() > 1
