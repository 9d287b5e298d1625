"""`quantize`: an int8 transformer that is close to f32, or none."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from stylewire import Client
from stylewire_server.cli.main import main
from stylewire_server.engine.base import EngineError
from stylewire_server.engine.factory import start
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.imaging.codec import load
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.models.full import full, read_manifest
from stylewire_server.models.lite import lite
from stylewire_server.models.network import WeightsError
from stylewire_server.preparation.quantize import Closeness, quantize, read_pairs, residual_convolutions

BOUND_DB = 25.0
"""Bound in dB for random weights. It says nothing about the real weights."""


@pytest.fixture(scope="module")
def pictures(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Contents and styles of the examples: up to 8 pairs to calibrate with, and 2 to check."""
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copytree(photo.parent, folder / "content")
    (folder / "style").mkdir()
    for path in sorted((photo.parent.parent / "style").iterdir())[:6]:
        shutil.copy(path, folder / "style")
    return folder


def copy_of(converted: Path, parent: Path) -> Path:
    return Path(shutil.copytree(converted, parent / "full"))


@pytest.fixture(scope="module")
def quantized(
    converted: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Closeness, list[str]]:
    """The converted model with an int8 transformer, how close that is, and the stages on the way."""
    pytest.importorskip("nncf", reason="nncf is not installed: pip install 'stylewire[int8]'")
    folder = copy_of(converted, tmp_path_factory.mktemp("quantized"))
    stages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # Random weights need no more, and each pair takes a second.
        patch.setattr("stylewire_server.preparation.quantize._CALIBRATION_PAIRS", 3)
        found = quantize(folder, pictures, bound_db=BOUND_DB, progress=lambda stage, share: stages.append(stage))
    return folder, found, stages


def test_the_manifest_says_how_close_it_is(quantized: tuple, converted: Path) -> None:
    folder, found, stages = quantized
    manifest = read_manifest(folder)
    assert manifest.int8_db == found.minimum_db >= BOUND_DB
    assert found.median_db >= found.minimum_db
    assert {"transformer_int8.xml", "transformer_int8.bin"} <= set(manifest.sizes)
    assert stages[:2] == ["quantizing", "checking"]
    assert stages[-1] == "done"
    assert full(folder).sha256 == full(converted).sha256
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".fetch-")]


def test_the_figure_is_that_of_pictures_it_never_saw(quantized: tuple, pictures: Path, psnr: Callable) -> None:
    folder, found, _ = quantized
    calibration, held_out = read_pairs(pictures)
    seen = {picture.tobytes() for pair in calibration for picture in (pair.content, pair.style)}
    assert len(held_out) == found.pairs >= 2
    engines = {precision: OpenVinoEngine(full(folder), precision) for precision in ("f32", "int8")}
    levels = []
    for pair in held_out:
        assert not {pair.content.tobytes(), pair.style.tobytes()} & seen
        made = {name: engine.transform(pair.content, engine.predict(pair.style)) for name, engine in engines.items()}
        levels.append(psnr(made["int8"], made["f32"]))
    assert min(levels) == pytest.approx(found.minimum_db, abs=0.5)
    # Above it would not be int8 that ran.
    assert max(levels) < 60


def test_residual_blocks_alone_are_in_int8(quantized: tuple) -> None:
    folder, found, _ = quantized
    core = ov.Core()
    model = full(folder).int8(core)
    convolutions = residual_convolutions(full(folder).transformer(core))
    assert len(convolutions) == 40
    bytes_of = {"i8": 0, "u8": 0}
    for op in model.get_ops():
        if op.get_type_name() == "Constant" and op.get_element_type().to_string() in bytes_of:
            bytes_of[op.get_element_type().to_string()] += int(np.prod(op.get_output_shape(0)))
    assert bytes_of == {"i8": 2 * (20 - found.float_blocks) * 128 * 128 * 9, "u8": 0}


def test_auto_never_picks_int8(quantized: tuple) -> None:
    folder, _, _ = quantized
    assert full(folder).int8 is not None
    assert start(full(folder), "openvino", "auto", threads=0, streams=1).precision in {"f32", "bf16"}
    assert start(full(folder), "openvino", "int8", threads=0, streams=1).precision == "int8"


def test_int8_behind_a_server(
    start_server: Callable, quantized: tuple, photo: Path, style_picture: Path, psnr: Callable
) -> None:
    folder, _, _ = quantized
    running = start_server("--cache", folder.parent, "--precision", "int8")
    try:
        with Client(running.target, timeout=120) as client:
            assert client.model().precision == "int8"
            made = client.stylize(photo, style_picture, fit="keep", encoding="png")
    finally:
        assert running.stop() == 0
    assert running.banner.endswith("model=full precision=int8")
    pixels = [
        load(path.read_bytes(), fit, ImageLimits(), "content").pixels[np.newaxis].astype(np.float32) / 255
        for path, fit in ((photo, Fit.KEEP_256), (style_picture, Fit.SQUASH_256))
    ]
    engine = OpenVinoEngine(full(folder), "f32")
    expected = engine.transform(pixels[0], engine.predict(pixels[1]))
    assert BOUND_DB - 3 <= psnr(np.asarray(made, np.float32)[np.newaxis] / 255, expected) < 60


def test_a_missed_bound_writes_nothing(
    converted: Path, quantized: tuple, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of the four variants. Both get the graph that another test has made, because NNCF takes long.
    monkeypatch.setattr("stylewire_server.preparation.quantize.FLOAT_BLOCKS", (0, 10))
    monkeypatch.setattr("stylewire_server.preparation.quantize._CALIBRATION_PAIRS", 1)
    made = ov.Core().read_model(quantized[0] / "transformer_int8.xml")
    monkeypatch.setattr("stylewire_server.preparation.quantize.quantized", lambda *_: made)
    folder = copy_of(converted, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(WeightsError, match=r"int8 is at \d+\.\d dB .* the bound is 100\.0 dB, so nothing was written"):
        quantize(folder, pictures, bound_db=100.0)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(EngineError, match="no int8 transformer"):
        start(full(folder), "openvino", "int8", threads=0, streams=1)


def test_half_an_int8_transformer_is_refused_by_name(quantized: tuple, tmp_path: Path) -> None:
    folder = copy_of(quantized[0], tmp_path)
    path = folder / "transformer_int8.bin"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"transformer_int8\.bin has 1,000 bytes, expected [\d,]+"):
        full(folder)


def test_nncf_reports_to_nobody() -> None:
    pytest.importorskip("nncf", reason="nncf is not installed: pip install 'stylewire[int8]'")
    code = "import stylewire_server.preparation.quantize, nncf.telemetry as t; print(type(t.telemetry).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Imported alone, NNCF has an NNCFTelemetry there.
    assert done.stdout.split()[-1] != "NNCFTelemetry"


def test_lite_has_no_int8() -> None:
    with pytest.raises(EngineError, match="the lite edition has no int8 transformer: run it with --precision auto"):
        start(lite(), "openvino", "int8", threads=0, streams=1)


def test_full_without_int8_says_how_to_get_it(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to(converted)
    command = [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", "--cache", str(tmp_path)]
    done = subprocess.run([*command, "--precision", "int8"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "make it: python -m stylewire_server quantize PICTURES" in done.stderr.splitlines()[-1]


def test_too_few_pictures_are_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "content").mkdir()
    assert main(["quantize", str(tmp_path), "--cache", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "content holds 0 JPEG, PNG or WebP pictures; at least 3 are needed" in line


def test_a_picture_that_does_not_decode_is_named(tmp_path: Path, pictures: Path) -> None:
    shutil.copytree(pictures / "content", tmp_path / "content")
    (tmp_path / "content" / "zebra.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(WeightsError, match=r"zebra\.jpg"):
        read_pairs(tmp_path)


def test_a_model_that_is_not_there_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="nncf is not installed: pip install 'stylewire[int8]'")
    with pytest.raises(WeightsError, match="holds no converted model"):
        quantize(tmp_path / "absent" / "mine", pictures)
    assert not (tmp_path / "absent").exists()


def test_without_nncf_it_says_what_to_install(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(WeightsError, match=r"quantizing needs nncf: pip install 'stylewire\[int8\]'"):
        quantize(tmp_path / "full", pictures)
