"""Both engines on the full model's graph, against the SavedModel and against each other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from stylewire_server.engine.base import Engine, EngineError
from stylewire_server.engine.factory import start
from stylewire_server.engine.openvino import OpenVinoEngine, computes_bf16
from stylewire_server.models.full import full
from stylewire_server.models.lite import lite

pytest.importorskip("tensorflow")

Psnr = Callable[[np.ndarray, np.ndarray], float]

SIZES = [(64 + down, 48 + right) for down in range(4) for right in range(4)] + [(16, 16), (17, 101), (131, 33)]
"""Sides in pixels: every residue modulo 4, the smallest side, and odd sides."""


@pytest.fixture(scope="module")
def engines(converted: Path) -> dict[str, Engine]:
    """One engine of each kind, in f32."""
    return {name: start(full(converted), name, "f32", threads=0, streams=1) for name in ("openvino", "tensorflow")}


def test_f32_agrees_with_the_savedmodel(engines: dict, originals: list, pairs: list, psnr: Psnr) -> None:
    engine = engines["openvino"]
    for pair, expected in zip(pairs, originals, strict=True):
        assert expected.std() > 0.02
        assert psnr(engine.transform(pair.content, engine.predict(pair.style)), expected) >= 80


def test_bf16_agrees_with_the_savedmodel(converted: Path, originals: list, pairs: list, psnr: Psnr) -> None:
    if not computes_bf16(ov.Core()):
        pytest.skip("this CPU does not compute in bf16")
    engine = OpenVinoEngine(full(converted), "bf16")
    assert engine.precision == "bf16"
    for pair, expected in zip(pairs, originals, strict=True):
        # Above the upper bound it would not be bf16 that ran.
        assert 35 <= psnr(engine.transform(pair.content, engine.predict(pair.style)), expected) < 70


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_comes_back_as_it_went(engines: dict, pairs: list, psnr: Psnr, height: int, width: int) -> None:
    content = pairs[0].content[:, :height, :width]
    vector = engines["openvino"].predict(pairs[0].style)
    made = {name: engine.transform(content, vector) for name, engine in engines.items()}
    assert made["openvino"].shape == made["tensorflow"].shape == content.shape
    assert psnr(made["openvino"], made["tensorflow"]) >= 80


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_bytes_in_bytes_out(engines: dict, pairs: list, name: str) -> None:
    engine = engines[name]
    content = np.rint(pairs[2].content[:, :50, :70] * 255).astype(np.uint8)
    style = np.rint(pairs[2].style * 255).astype(np.uint8)
    vector = engine.predict(style)
    np.testing.assert_allclose(vector, engine.predict(style.astype(np.float32) / 255), atol=1e-4 * np.abs(vector).max())
    made = engine.transform(content, vector)
    exact = engine.transform(content.astype(np.float32) / 255, vector) * 255
    assert made.dtype == np.uint8
    assert np.abs(made - exact).max() <= 0.51


def test_a_tuning_is_the_same_in_both_engines_and_when_tuning(
    engines: dict, converted: Path, pairs: list, psnr: Psnr
) -> None:
    import tensorflow as tf

    from optimizer_baseline.tuning.transformer import Transformer, read_weights

    transformer = Transformer(read_weights(full(converted)))
    content = pairs[0].content[:, :64, :48]
    vector = engines["openvino"].predict(pairs[0].style)
    assert {engine.norm_parameters for engine in engines.values()} == {transformer.parameters} == {10438}
    untuned = {name: engine.transform(content, vector) for name, engine in engines.items()}
    zeros = np.zeros((1, transformer.parameters), np.float32)
    tuning = np.random.default_rng(3).normal(0, 0.05, zeros.shape).astype(np.float32)
    for name, engine in engines.items():
        np.testing.assert_array_equal(engine.transform(content, np.hstack([vector, zeros])), untuned[name])
    made = {name: engine.transform(content, np.hstack([vector, tuning])) for name, engine in engines.items()}
    assert psnr(made["openvino"], untuned["openvino"]) < 40
    assert psnr(made["openvino"], made["tensorflow"]) >= 80
    parameters = tf.constant(transformer.norm_parameters(vector[0]) + tuning[0])
    painted = transformer.paint(transformer.contract(tf.constant(content)), parameters).numpy()
    assert psnr(made["openvino"], painted) >= 50


def test_batches_are_their_pictures(engines: dict, pairs: list, psnr: Psnr) -> None:
    styles = np.concatenate([pair.style for pair in pairs[:2]])
    contents = np.concatenate([pair.content[:, :40, :44] for pair in pairs[:2]])
    for engine in engines.values():
        vectors = engine.predict(styles)
        assert vectors.shape == (2, 768)
        assert vectors.dtype == np.float32
        both = engine.transform(contents, vectors)
        for index in (0, 1):
            one = engine.transform(contents[index : index + 1], vectors[index : index + 1])
            assert psnr(both[index : index + 1], one) >= 80
        assert psnr(both[:1], both[1:]) < 40


def test_the_vectors_agree(engines: dict, pairs: list) -> None:
    ours, theirs = (engines[name].predict(pairs[0].style) for name in ("openvino", "tensorflow"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_tensorflow_has_no_lite_edition() -> None:
    with pytest.raises(EngineError, match="lite edition has no TensorFlow graphs"):
        start(lite(), "tensorflow", "auto", threads=0, streams=1)


def test_tensorflow_computes_in_f32_only(converted: Path) -> None:
    with pytest.raises(EngineError, match="precision is bf16"):
        start(full(converted), "tensorflow", "bf16", threads=0, streams=1)
