"""The rewritten convolutions against the plain convolutions that they replace."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op
from stylewire_server.models import transformer as rewritten

RNG = np.random.default_rng(0)


def run(build, picture: np.ndarray) -> np.ndarray:
    """Return the output of a graph that `build` makes from a parameter [N,C,H,W], computed in float32."""
    parameter = op.parameter([-1, picture.shape[1], -1, -1], np.float32)
    model = ov.Model([build(parameter)], [parameter])
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([picture])[0]


def picture(channels: int, height: int = 24, width: int = 20) -> np.ndarray:
    return RNG.normal(size=(1, channels, height, width)).astype(np.float32)


def kernel(outputs: int, inputs: int, side: int) -> np.ndarray:
    return RNG.normal(size=(outputs, inputs, side, side)).astype(np.float32) / side


def reflected(picture: np.ndarray, margin: int) -> np.ndarray:
    return np.pad(picture, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")


def convolved(picture: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """The definition: a sum over kernel positions, in float64."""
    side = kernel.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (side, side), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwyx,ocyx->nohw", windows.astype(np.float64), kernel)


def put_together(phases: np.ndarray, order: str) -> np.ndarray:
    """Phases [1,4*C,h,w] as a picture [1,C,2h,2w]."""
    _, channels, height, width = phases.shape
    if order == "phase first":
        split = phases.reshape(2, 2, channels // 4, height, width)
    else:
        split = phases.reshape(channels // 4, 2, 2, height, width).transpose(1, 2, 0, 3, 4)
    return split.transpose(2, 3, 0, 4, 1).reshape(1, channels // 4, 2 * height, 2 * width)


def test_nine_by_nine_in_phases() -> None:
    content, weights = picture(3), kernel(8, 3, 9)
    expected = convolved(reflected(content, 4), weights)
    phases = run(lambda x: rewritten._convolve(rewritten._pad(x, 4, 4), rewritten.to_phases(weights), 2), content)
    np.testing.assert_allclose(put_together(phases, "phase first"), expected, atol=1e-4)
    first = rewritten.channels_first(rewritten.to_phases(weights))
    phases = run(lambda x: rewritten._convolve(rewritten._pad(x, 4, 4), first, 2), content)
    np.testing.assert_allclose(put_together(phases, "channel first"), expected, atol=1e-4)


def test_three_by_three_of_stride_two_on_phases() -> None:
    content, weights = picture(8), kernel(16, 8, 3)
    expected = convolved(reflected(content, 1), weights, stride=2)
    height, width = content.shape[2:]
    split = content.reshape(1, 8, height // 2, 2, width // 2, 2).transpose(0, 3, 5, 1, 2, 4)
    phases = np.ascontiguousarray(split.reshape(1, 32, height // 2, width // 2))
    found = run(lambda x: rewritten._convolve(rewritten._pad(x, 1, 0, "edge"), rewritten.from_phases(weights)), phases)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (24, 20)])
def test_doubling_and_three_by_three_as_one(size: tuple[int, int]) -> None:
    content, weights = picture(6, *size), kernel(5, 6, 3)
    expected = convolved(reflected(content.repeat(2, axis=2).repeat(2, axis=3), 1), weights)
    found = run(lambda x: rewritten._double(x, rewritten.upsampling(weights)), content)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_missing_layer_is_named() -> None:
    with pytest.raises(KeyError, match="transformer/expand/conv3"):
        rewritten.build({})
