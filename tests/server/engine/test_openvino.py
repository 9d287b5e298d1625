"""The OpenVINO engine with the lite edition."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from stylewire_server.engine import openvino
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite


@pytest.fixture(scope="module")
def engine() -> OpenVinoEngine:
    return OpenVinoEngine(lite(), "auto", streams=2)


@pytest.fixture(scope="module")
def vector(engine: OpenVinoEngine) -> np.ndarray:
    return engine.predict(smooth(256, 256, seed=1))


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a smooth colorful picture, uint8 [1,H,W,3]."""
    y, x = np.mgrid[:height, :width] / 64.0
    phase = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    channels = [127 + 120 * np.sin(x * (i + 1) + phase[i, 0]) * np.cos(y + phase[i, 1]) for i in range(3)]
    return np.stack(channels, -1).astype(np.uint8)[np.newaxis]


@pytest.mark.parametrize("height", [16, 17, 18, 19, 63, 130])
@pytest.mark.parametrize("width", [16, 17, 18, 19, 101])
def test_output_size_is_content_size(engine: OpenVinoEngine, vector: np.ndarray, height: int, width: int) -> None:
    content = smooth(height, width)
    result = engine.transform(content, vector)
    assert (result.shape, result.dtype) == (content.shape, content.dtype)
    assert result.std() > 1


def test_bytes_and_floats_agree(engine: OpenVinoEngine, vector: np.ndarray) -> None:
    content = smooth(128, 96)
    as_bytes = engine.transform(content, vector)
    as_floats = engine.transform(content.astype(np.float32) / 255, vector)
    assert as_floats.dtype == np.float32
    assert as_floats.min() >= 0
    assert as_floats.max() <= 1
    # Rounded, not cut: half a level is as far as they can be apart, and a little for bf16.
    assert np.abs(as_floats * 255 - as_bytes).max() <= 0.51
    assert abs(np.mean(as_floats * 255 - as_bytes)) < 0.05


def test_predict_takes_bytes_and_floats_and_batches(engine: OpenVinoEngine) -> None:
    batch = np.concatenate([smooth(256, 256, seed) for seed in (3, 4)])
    vectors = engine.predict(batch)
    assert vectors.shape == (2, 100)
    np.testing.assert_array_equal(vectors[1:], engine.predict(batch[1:]))
    # The graph rounds its vector to steps of 0.0199, and a value near the middle of two may go either way.
    np.testing.assert_allclose(engine.predict(batch.astype(np.float32) / 255), vectors, atol=0.02)


def test_the_same_call_gives_the_same_picture(engine: OpenVinoEngine, vector: np.ndarray) -> None:
    content = smooth(64, 64)
    np.testing.assert_array_equal(engine.transform(content, vector), engine.transform(content, vector))


def test_many_threads_get_their_own_pictures(engine: OpenVinoEngine, vector: np.ndarray) -> None:
    contents = [smooth(64 + 4 * (seed % 3), 64, seed) for seed in range(12)]
    expected = [engine.transform(content, vector) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for result, wanted in zip(
                pool.map(lambda content: engine.transform(content, vector), contents), expected, strict=True
            ):
                np.testing.assert_array_equal(result, wanted)


def test_a_picture_that_is_alone_has_all_threads(vector: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single picture equals that of one stream, and one of several equals that of many streams."""
    # A busy machine may take longer than usual between two pictures.
    monkeypatch.setattr(openvino, "CALM_SECONDS", 2.0)
    content = smooth(128, 128)
    adaptive = OpenVinoEngine(lite(), streams=2, adaptive=True)
    alone, beside = (OpenVinoEngine(lite(), streams=streams).transform(content, vector) for streams in (1, 2))
    np.testing.assert_array_equal(adaptive.transform(content, vector), alone)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: adaptive.transform(content, vector), range(40)))
    kinds = {picture.tobytes() for picture in made}
    assert kinds <= {alone.tobytes(), beside.tobytes()}
    assert beside.tobytes() in kinds
    assert np.mean(np.square(alone.astype(float) - beside)) < 1.0
    np.testing.assert_array_equal(adaptive.transform(content, vector), beside)
    time.sleep(openvino.CALM_SECONDS)
    np.testing.assert_array_equal(adaptive.transform(content, vector), alone)
