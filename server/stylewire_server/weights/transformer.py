"""The transformer of both editions as an OpenVINO graph in floating point.

Dumoulin, Shlens and Kudlur 2017 (A Learned Representation for Artistic Style), table 1: contract (9x9, 3x3 stride 2,
3x3 stride 2, batch norm folded into kernel and bias), residual blocks, expand (nearest x2 and 3x3, nearest x2 and 3x3,
9x9 to three channels, sigmoid). Reflection padding everywhere. Each norm outside the contraction is a conditional
instance norm: its scale and offset are affine in the style vector. The lite edition has 8, 16, 32 channels and five
blocks, the full one 32, 64, 128 channels and twenty.

Three things are written otherwise than in the paper and give the same picture but for rounding: all scales and
offsets come from one matrix product; doubling and 3x3 are one 2x2 convolution on the small grid (`_doubling`); the
last convolution computes blocks of 2x2 pixels (`_blockwise`).
"""

from collections.abc import Mapping
from itertools import count, takewhile

import numpy as np
import openvino as ov
from openvino import opset13 as op

EPSILON = 1e-5
"""Added to the variance of an instance norm, in the SavedModel; the lite edition's file has it as 127 * 7.874e-8."""

SPATIAL = np.array([2, 3])


def build(weights: Mapping[str, np.ndarray]) -> ov.Model:
    """Graph of (content [N,H,W,3] in 0..1, vector [N,D]) -> picture [N,H,W,3] in 0..1; H, W multiples of 4.

    Args:
        weights: Under their TensorFlow names, kernels [out,in,kh,kw] as `…/weights` and biases [out] as
            `…/Conv2D_bias`. Channels, blocks and D follow from them.
    """
    blocks = [
        f"transformer/residual/residual{index}"
        for index in takewhile(lambda i: f"transformer/residual/residual{i}/conv1/weights" in weights, count(1))
    ]
    normalised = [f"{block}/conv{index}" for block in blocks for index in (1, 2)]
    normalised += [f"transformer/expand/conv{index}/conv" for index in (1, 2, 3)]
    dimension = weights[f"style_params/{normalised[0]}/StyleNorm/Conv/weights"].shape[1]
    content = op.parameter([-1, -1, -1, 3], np.float32, name="content")
    vector = op.parameter([-1, dimension], np.float32, name="vector")
    affine = _affine(vector, normalised, weights)

    def contract(x: ov.Node, name: str, stride: int) -> ov.Node:
        kernel, bias = weights[f"{name}/weights"], weights[f"{name}/Conv2D_bias"]
        x = _convolve(_pad(x, kernel.shape[2] // 2), kernel, stride)
        return op.relu(op.add(x, op.constant(bias.reshape(1, -1, 1, 1))))

    def norm(x: ov.Node, name: str) -> ov.Node:
        # A convolution's own bias cancels in the norm, so none is added before it.
        scale, offset = affine[name]
        return op.add(op.multiply(op.mvn(x, op.constant(SPATIAL), True, EPSILON, "inside_sqrt"), scale), offset)

    def half(x: ov.Node, name: str) -> ov.Node:
        return norm(_convolve(_pad(x, 1), weights[f"{name}/weights"]), name)

    x = op.transpose(content, op.constant(np.array([0, 3, 1, 2])))
    for index, stride in ((1, 1), (2, 2), (3, 2)):
        x = contract(x, f"transformer/contract/conv{index}", stride)
    for block in blocks:
        x = op.add(x, half(op.relu(half(x, f"{block}/conv1")), f"{block}/conv2"))
    for name in normalised[-3:-1]:
        x = op.relu(norm(_doubling(x, weights[f"{name}/weights"]), name))
    x = op.sigmoid(norm(_blockwise(x, weights[f"{normalised[-1]}/weights"]), normalised[-1]))
    picture = op.transpose(x, op.constant(np.array([0, 2, 3, 1])))
    return ov.Model([picture], [content, vector], "transformer")


def _affine(
    vector: ov.Node, names: list[str], weights: Mapping[str, np.ndarray]
) -> dict[str, tuple[ov.Output, ov.Output]]:
    """Every norm's scale and offset, [N,C,1,1] each, by one product of the vector with all of their kernels."""
    layers = [f"style_params/{name}/StyleNorm/{part}" for name in names for part in ("Conv_1", "Conv")]
    kernel = np.concatenate([weights[f"{layer}/weights"][:, :, 0, 0] for layer in layers])
    biases = [weights[f"{layer}/Conv2D_bias"] for layer in layers]
    bias, lengths = np.concatenate(biases)[np.newaxis], np.array([len(bias) for bias in biases])
    values = op.add(op.matmul(vector, op.constant(kernel), False, True), op.constant(bias))
    parts = op.variadic_split(op.unsqueeze(values, op.constant(SPATIAL)), op.constant(1), op.constant(lengths))
    return {name: (parts.output(2 * index), parts.output(2 * index + 1)) for index, name in enumerate(names)}


def _pad(x: ov.Node, margin: int, mode: str = "reflect") -> ov.Node:
    margins = op.constant(np.array([0, 0, margin, margin]))
    return op.pad(x, margins, margins, mode)


def _convolve(x: ov.Node, kernel: np.ndarray, stride: int = 1) -> ov.Node:
    kernel = np.ascontiguousarray(kernel, np.float32)
    return op.convolution(x, op.constant(kernel), [stride] * 2, [0, 0], [0, 0], [1, 1])


def _doubling(x: ov.Node, kernel: np.ndarray) -> ov.Node:
    """Nearest x2, reflection by 1 and a 3x3 convolution [out,in,3,3], without ever making the doubled picture.

    Of the three rows under a kernel two are copies of one small row, so their weights add up: 2x2 weights for each of
    the four places that a large pixel can have in a small one (the sub-pixel convolution of Shi et al. 2016), 4/9 of
    the products. Reflecting the doubled picture by 1 repeats its edge, which is repeating the small picture's edge.

    The 2x2 window that ends at small row p gives large rows 2p-1 (the kernel sees p-1, p, p) and 2p (p-1, p-1, p
    shifted by one), so the blocks interleave to a picture with one row too many at each end.
    """
    above, below = np.array([[1, 1, 0], [0, 0, 1]]), np.array([[1, 0, 0], [0, 1, 1]])
    places = np.stack([above, below])  # [place, small row, row of the kernel]
    folded = np.einsum("ary,bsx,oiyx->oabirs", places, places, kernel.astype(np.float64))
    outputs, inputs = kernel.shape[:2]
    x = _convolve(_pad(x, 1, "edge"), folded.reshape(4 * outputs, inputs, 2, 2))
    one, end = op.constant(np.array([1, 1])), op.constant(np.array([-1, -1]))
    return op.slice(op.depth_to_space(x, "depth_first", 2), one, end, one, op.constant(SPATIAL))


def _blockwise(x: ov.Node, kernel: np.ndarray) -> ov.Node:
    """Reflection and a convolution [out,in,k,k], computed for 2x2 pixels at once with stride 2; H, W even.

    Three outputs leave most of a vector register empty; twelve, each with the kernel at its own place in a window
    one larger, cost a third of the time in spite of the zeros.
    """
    outputs, inputs, side, _ = kernel.shape
    placed = np.zeros((outputs, 2, 2, inputs, side + 1, side + 1))
    for row in (0, 1):
        for column in (0, 1):
            placed[:, row, column, :, row : row + side, column : column + side] = kernel
    x = _convolve(_pad(x, side // 2), placed.reshape(4 * outputs, inputs, side + 1, side + 1), stride=2)
    return op.depth_to_space(x, "depth_first", 2)
