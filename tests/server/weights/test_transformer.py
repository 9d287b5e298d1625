"""The rewritten layers of the transformer give what the plain ones give."""

import numpy as np
import openvino as ov
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as op
from stylewire_server.weights import transformer


def run(build: object, pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    x = op.parameter([-1, kernel.shape[1], -1, -1], np.float32)
    model = ov.Model([build(x, kernel)], [x], "layer")  # type: ignore[operator]
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([pixels])[0]


def plain(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Reflection and convolution, float64, straight from the definition."""
    margin = kernel.shape[2] // 2
    padded = np.pad(pixels.astype(np.float64), ((0, 0), (0, 0), (margin, margin), (margin, margin)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(2, 3))
    return np.einsum("nchwyx,ocyx->nohw", windows, kernel)


layers = st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5), st.integers(2, 9), st.integers(2, 9))


@settings(max_examples=25, deadline=None)
@given(layers, st.integers(0, 99))
def test_doubling_is_nearest_reflection_and_convolution(layer: tuple[int, ...], seed: int) -> None:
    batch, inputs, outputs, height, width = layer
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(batch, inputs, height, width)).astype(np.float32)
    kernel = rng.normal(size=(outputs, inputs, 3, 3)).astype(np.float32)
    expected = plain(pixels.repeat(2, 2).repeat(2, 3), kernel)
    np.testing.assert_allclose(run(transformer._doubling, pixels, kernel), expected, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(layers, st.sampled_from([3, 9]), st.integers(0, 99))
def test_blockwise_is_reflection_and_convolution(layer: tuple[int, ...], side: int, seed: int) -> None:
    batch, inputs, outputs, height, width = layer
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(batch, inputs, 2 * height + 4, 2 * width + 4)).astype(np.float32)
    kernel = rng.normal(size=(outputs, inputs, side, side)).astype(np.float32)
    np.testing.assert_allclose(run(transformer._blockwise, pixels, kernel), plain(pixels, kernel), atol=2e-4)


def test_a_missing_layer_is_named() -> None:
    with pytest.raises(KeyError, match="expand/conv1"):
        transformer.build({})
