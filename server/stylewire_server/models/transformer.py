"""The transformer of both editions as an OpenVINO graph in floating point.

The layers are those of Dumoulin, Shlens and Kudlur 2017 (A Learned Representation for Artistic Style), table 1, with
reflection padding:

- contract: 9x9, 3x3 stride 2, 3x3 stride 2, with batch norm folded into kernel and bias;
- residual blocks;
- expand: nearest x2 and 3x3, nearest x2 and 3x3, 9x9 to three channels, sigmoid.

Each norm outside the contraction is a conditional instance norm: its scale and offset are affine in the style vector.
The full edition has 32, 64 and 128 channels and twenty blocks, the lite one a quarter of each.

The first convolution has three input channels, and the last one has three outputs. So few channels fill only a part of
a vector register, and in the lite edition these two would take most of the time. So the graph treats four neighboring
pixels as one position with four times the channels, called *phases*. The sums are the same, in another order.

- 9x9 at full size becomes 10x10 with stride 2 and four phases of each output channel.
- The 3x3 with stride 2 that follows becomes 2x2 on phases.
- Nearest x2 followed by 3x3 becomes one 4x4 transposed convolution with stride 2.
"""

import re
from collections.abc import Mapping

import numpy as np
import openvino as ov
from openvino import opset13 as op

EPSILON = 1e-5
"""Number added to the variance of an instance norm, as in the SavedModel. The lite edition's file has 127 *
7.874e-8."""

STYLE_LAYERS = "style_params/"
"""Prefix of the names of the affine maps. A norm has two, `…/StyleNorm/Conv` (offset) and `…_1` (scale)."""

PHASES = 4
"""Pixels of one position: two by two."""

WIDE = 32
"""Minimum number of channels that fill vector registers in channels-last order: two registers of AVX-512 in float32."""


def build(weights: Mapping[str, np.ndarray]) -> ov.Model:
    """Return the graph (content [N,H,W,3] in 0..1, style [N,D+P]) -> picture [N,H,W,3] in 0..1; H, W multiples of 4.

    A style sets the P scales and offsets of all norms. The network's affine maps compute them from a style vector of D
    numbers. Then a tuning of P numbers is added. With a tuning of zeros, the picture is that of the vector, bit for
    bit.

    Args:
        weights: Arrays by their TensorFlow names: kernels [out,in,kh,kw] as `…/weights` and biases [out] as
            `…/Conv2D_bias`. Channels, blocks and D follow from them.

    Raises:
        KeyError: A layer is missing.
    """
    dimension = weights["style_params/transformer/expand/conv3/conv/StyleNorm/Conv/weights"].shape[1]
    blocks = sum(bool(re.fullmatch(r"transformer/residual/residual\d+/conv1/weights", name)) for name in weights)
    content = op.parameter([-1, -1, -1, 3], np.float32, name="content")
    parameters = norm_parameters(weights)
    style = op.parameter([-1, dimension + parameters], np.float32, name="style")
    vector, tuning = op.variadic_split(style, op.constant(1), op.constant(np.array([dimension, parameters]))).outputs()
    affines = _affines(weights, vector, tuning)

    def kernel(name: str) -> np.ndarray:
        return weights[f"{name}/weights"]

    def biased(x: ov.Node, name: str, phases: int = 1) -> ov.Node:
        bias = np.tile(weights[f"{name}/Conv2D_bias"], phases)
        return op.relu(op.add(x, op.constant(bias.reshape(1, -1, 1, 1))))

    def normalized(x: ov.Node, name: str) -> ov.Node:
        # The norm cancels the bias of the convolution before it, so the bias is left out.
        scale, offset = affines[name]
        return op.add(op.multiply(_standardized(x, [2, 3]), scale), offset)

    def normalized_rows(x: ov.Node, name: str) -> ov.Node:
        # With few channels the engine's channels-last order wastes most of a vector register. Flat rows avoid that
        # order.
        channels = affines[name][0].get_partial_shape()[1].get_length()
        flat = op.reshape(x, op.constant(np.array([0, channels, -1])), True)
        scale, offset = (op.squeeze(part, op.constant(3)) for part in affines[name])
        return op.reshape(op.add(op.multiply(_standardized(flat, [2]), scale), offset), op.shape_of(x), False)

    def same(x: ov.Node, name: str, stride: int = 1) -> ov.Node:
        return _convolve(_pad(x, 1, 1), kernel(name), stride)

    margin = op.constant(np.array([0, 4, 4, 0]))
    x = op.transpose(op.pad(content, margin, margin, "reflect"), op.constant(np.array([0, 3, 1, 2])))
    name = "transformer/contract/conv1"
    x = biased(_convolve(x, to_phases(kernel(name)), 2), name, PHASES)
    # Row -1 reflects to row 1, which is the same position's other phase.
    name = "transformer/contract/conv2"
    x = biased(_convolve(_pad(x, 1, 0, "edge"), from_phases(kernel(name))), name)
    name = "transformer/contract/conv3"
    x = biased(same(x, name, stride=2), name)
    for index in range(1, blocks + 1):
        first, second = (f"transformer/residual/residual{index}/conv{half}" for half in (1, 2))
        x = op.add(x, normalized(same(op.relu(normalized(same(x, first), first)), second), second))
    for index in (1, 2):
        name = f"transformer/expand/conv{index}/conv"
        x = _double(x, upsampling(kernel(name)))
        x = op.relu(normalized(x, name) if kernel(name).shape[0] >= WIDE else normalized_rows(x, name))
    name = "transformer/expand/conv3/conv"
    # All phases of a channel lie in one flat row, so the norm sees the whole picture before it is put together.
    x = _convolve(_pad(x, 4, 4), channels_first(to_phases(kernel(name))), 2)
    x = op.sigmoid(normalized_rows(x, name))
    picture = op.transpose(op.depth_to_space(x, "depth_first", 2), op.constant(np.array([0, 2, 3, 1])))
    return ov.Model([picture], [content, style], "transformer")


def to_phases(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel [o,i,k,k] of stride 1 as [4*o,i,k+1,k+1] of stride 2, with output channel phase * o + channel."""
    outputs, inputs, side, _ = kernel.shape
    phases = np.zeros((2, 2, outputs, inputs, side + 1, side + 1), np.float32)
    for y, x in np.ndindex(2, 2):
        phases[y, x, :, :, y : y + side, x : x + side] = kernel
    return phases.reshape(PHASES * outputs, inputs, side + 1, side + 1)


def from_phases(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel [o,i,3,3] of stride 2 as [o,4*i,2,2] of stride 1, with input channel phase * i + channel."""
    outputs, inputs = kernel.shape[:2]
    phases = np.zeros((outputs, 2, 2, inputs, 2, 2), np.float32)
    for y, x in np.ndindex(3, 3):
        row, row_phase = divmod(y + 1, 2)
        column, column_phase = divmod(x + 1, 2)
        phases[:, row_phase, column_phase, :, row, column] = kernel[:, :, y, x]
    return phases.reshape(outputs, PHASES * inputs, 2, 2)


def upsampling(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel [o,i,3,3] after nearest x2 as the kernel [i,o,4,4] of a transposed convolution of stride 2."""
    outputs, inputs = kernel.shape[:2]
    transposed = np.zeros((inputs, outputs, 4, 4), np.float32)
    for y, x in np.ndindex(3, 3):
        # Each source pixel gives two by two pixels of the doubled picture, and the kernel covers each of them.
        transposed[:, :, 2 - y : 4 - y, 2 - x : 4 - x] += kernel[:, :, y, x].T[:, :, np.newaxis, np.newaxis]
    return transposed


def channels_first(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel of phases [4*o,i,k,k] with its outputs in the order channel * 4 + phase."""
    outputs = kernel.shape[0] // PHASES
    return kernel.reshape(PHASES, outputs, *kernel.shape[1:]).swapaxes(0, 1).reshape(kernel.shape)


def style_layers(weights: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the affine maps from the style vector to scales and offsets, in the order of a tuning."""
    suffix = "/weights"
    names = (name.removesuffix(suffix) for name in weights if name.endswith(suffix))
    return sorted((name for name in names if name.startswith(STYLE_LAYERS)), key=lambda name: f"{name}/")


def norm_parameters(weights: Mapping[str, np.ndarray]) -> int:
    """Return the number P of scales and offsets of all conditional norms."""
    return sum(weights[f"{name}/Conv2D_bias"].size for name in style_layers(weights))


def _affines(
    weights: Mapping[str, np.ndarray], vector: ov.Output, tuning: ov.Output
) -> dict[str, tuple[ov.Output, ov.Output]]:
    """Return scale and offset [N,C,1,1] of every norm: one product with the style vector, plus the tuning."""
    middle = "/StyleNorm/Conv"
    names = style_layers(weights)
    kernels = [weights[f"{name}/weights"][:, :, 0, 0] for name in names]
    biases = [weights[f"{name}/Conv2D_bias"] for name in names]
    values = op.add(
        op.matmul(vector, op.constant(np.concatenate(kernels)), False, True),
        op.constant(np.concatenate(biases)[np.newaxis]),
    )
    values = op.unsqueeze(op.add(values, tuning), op.constant(np.array([2, 3])))
    lengths = op.constant(np.array([len(bias) for bias in biases]))
    parts = op.variadic_split(values, op.constant(1), lengths).outputs()
    by_name = dict(zip(names, parts, strict=True))
    return {
        name[len(STYLE_LAYERS) : -len(middle)]: (by_name[f"{name}_1"], by_name[name])
        for name in names
        if name.endswith(middle)
    }


def _standardized(x: ov.Node, axes: list[int]) -> ov.Node:
    return op.mvn(x, op.constant(np.array(axes)), True, EPSILON, "inside_sqrt")


def _convolve(x: ov.Node, kernel: np.ndarray, stride: int = 1) -> ov.Node:
    return op.convolution(x, op.constant(kernel), [stride] * 2, [0, 0], [0, 0], [1, 1])


def _double(x: ov.Node, kernel: np.ndarray) -> ov.Node:
    # Reflection at the edge of the doubled picture gives the second copy of the edge pixel itself.
    return op.convolution_backprop_data(
        _pad(x, 1, 1, "edge"), op.constant(kernel), [2, 2], pads_begin=[3, 3], pads_end=[3, 3]
    )


def _pad(x: ov.Node, before: int, after: int, mode: str = "reflect") -> ov.Node:
    return op.pad(x, op.constant(np.array([0, 0, before, before])), op.constant(np.array([0, 0, after, after])), mode)
