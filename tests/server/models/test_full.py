"""Checks on the folder of a converted model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import openvino as ov
import pytest
from stylewire_server.engine.openvino import OpenVinoEngine, computes_bf16
from stylewire_server.models.full import full, read_manifest
from stylewire_server.models.network import WeightsError
from stylewire_server.models.select import open_network

Edit = Callable[[dict], object]


@pytest.fixture
def copy(converted: Path, tmp_path: Path) -> Path:
    """A copy of the converted folder, which a test may damage."""
    return Path(shutil.copytree(converted, tmp_path / "full"))


def edit(folder: Path, change: Edit) -> None:
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_the_manifest_says_what_was_done(converted: Path, saved_model: Path) -> None:
    manifest = read_manifest(converted)
    assert manifest.verified is False
    assert manifest.sources["saved_model.pb"] == "9c061b2fe4c9277d35adea3a2a620522e2d0b9685109f0e06fe8454b0be70a62"
    assert set(manifest.sources) == {
        path.relative_to(saved_model).as_posix() for path in saved_model.rglob("*") if path.is_file()
    }
    assert {"openvino", "tensorflow", "stylewire"} == set(manifest.versions)
    assert manifest.f32_db is not None
    assert manifest.f32_db >= 80
    if computes_bf16(ov.Core()):
        assert manifest.bf16_db is not None
        assert 20 < manifest.bf16_db < manifest.f32_db


@pytest.mark.parametrize("name", ["predictor.xml", "transformer.xml"])
def test_weights_are_kept_in_full_precision(converted: Path, name: str) -> None:
    ops = ov.Core().read_model(converted / name).get_ops()
    types = {op.get_element_type().to_string() for op in ops if op.get_type_name() == "Constant"}
    assert "f32" in types
    assert not types & {"f16", "bf16"}


def test_the_hash_covers_every_source(converted: Path, copy: Path) -> None:
    edit(copy, lambda fields: fields["sources"].update({"variables/variables.index": "0" * 64}))
    assert full(copy).sha256 != full(converted).sha256
    assert len(full(copy).sha256) == 64


@pytest.mark.parametrize(("bf16_db", "fit"), [(35.0, True), (34.9, False), (None, False)])
def test_auto_takes_bf16_only_where_its_check_passed(copy: Path, bf16_db: float | None, fit: bool) -> None:
    edit(copy, lambda fields: fields.update(bf16_db=bf16_db))
    network = full(copy)
    assert bool(network.bf16) is fit
    expected = "bf16" if fit and computes_bf16(ov.Core()) else "f32"
    assert OpenVinoEngine(network, "auto").precision == expected


@pytest.mark.parametrize("name", ["predictor.bin", "transformer.bin", "transformer.pb", "predictor.xml"])
def test_a_folder_that_is_not_whole_is_refused_by_name(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=rf"{name} has [\d,]+ bytes, expected {len(content):,}"):
        full(copy)
    (copy / name).unlink()
    with pytest.raises(WeightsError, match=f"{name} has 0 bytes"):
        full(copy)


@pytest.mark.parametrize("change", [lambda f: f.pop("sources"), lambda f: f.update(format=99), lambda f: f.update(x=1)])
def test_a_manifest_of_another_kind_is_refused(copy: Path, change: Edit) -> None:
    edit(copy, change)
    with pytest.raises(WeightsError, match="fetch it again"):
        full(copy)


def test_a_savedmodel_is_told_to_be_converted(saved_model: Path) -> None:
    with pytest.raises(WeightsError, match=f"fetch --from {saved_model}"):
        open_network(str(saved_model), saved_model)
