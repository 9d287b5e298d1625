"""The transformer of the lite edition as an OpenVINO graph in floating point.

Dumoulin, Shlens and Kudlur 2017 (A Learned Representation for Artistic Style), table 1, with a quarter of the
channels: contract (9x9x8, 3x3x16 stride 2, 3x3x32 stride 2, batch norm folded into bias), five residual blocks of 32
channels, expand (nearest x2 and 3x3x16, nearest x2 and 3x3x8, 9x9x3, sigmoid). Reflection padding everywhere. Each
norm outside the contraction is a conditional instance norm: its scale and offset are affine in the style vector.
"""

from collections.abc import Mapping

import numpy as np
import openvino as ov
from openvino import opset13 as op

EPSILON = 1e-5
"""Added to the variance of an instance norm; the ONNX file holds it as 127 * 7.874e-8."""

SPATIAL = np.array([2, 3])


def build(weights: Mapping[str, np.ndarray]) -> ov.Model:
    """Graph of (content [N,H,W,3] in 0..1, vector [N,100]) -> picture [N,H,W,3] in 0..1; H, W multiples of 4.

    Args:
        weights: Kernels [out,in,kh,kw] and biases [out] under their TensorFlow names.
    """
    content = op.parameter([-1, -1, -1, 3], np.float32, name="content")
    vector = op.parameter([-1, 100], np.float32, name="vector")

    def pad(x: ov.Node, margin: int) -> ov.Node:
        margins = op.constant(np.array([0, 0, margin, margin]))
        return op.pad(x, margins, margins, "reflect")

    def convolve(x: ov.Node, name: str, stride: int = 1) -> ov.Node:
        kernel = weights[f"{name}/weights"]
        return op.convolution(pad(x, kernel.shape[2] // 2), op.constant(kernel), [stride] * 2, [0, 0], [0, 0], [1, 1])

    def contract(x: ov.Node, name: str, stride: int) -> ov.Node:
        bias = weights[f"{name}/Conv2D_bias"].reshape(1, -1, 1, 1)
        return op.relu(op.add(convolve(x, name, stride), op.constant(bias)))

    def affine(name: str) -> ov.Node:
        kernel, bias = weights[f"style_params/{name}/weights"], weights[f"style_params/{name}/Conv2D_bias"]
        value = op.add(op.matmul(vector, op.constant(kernel[:, :, 0, 0]), False, True), op.constant(bias[np.newaxis]))
        return op.unsqueeze(value, op.constant(SPATIAL))

    def normalized(x: ov.Node, name: str) -> ov.Node:
        # A convolution's own bias cancels in the norm, so it is left out.
        x = op.mvn(convolve(x, name), op.constant(SPATIAL), True, EPSILON, "inside_sqrt")
        return op.add(op.multiply(x, affine(f"{name}/StyleNorm/Conv_1")), affine(f"{name}/StyleNorm/Conv"))

    def doubled(x: ov.Node) -> ov.Node:
        factors = op.constant(np.array([2, 2], np.float32))
        return op.interpolate(
            x, factors, "nearest", "scales", [0, 0], [0, 0], "asymmetric", "floor", axes=op.constant(SPATIAL)
        )

    x = op.transpose(content, op.constant(np.array([0, 3, 1, 2])))
    for index, stride in ((1, 1), (2, 2), (3, 2)):
        x = contract(x, f"transformer/contract/conv{index}", stride)
    for index in range(1, 6):
        name = f"transformer/residual/residual{index}"
        x = op.add(x, normalized(op.relu(normalized(x, f"{name}/conv1")), f"{name}/conv2"))
    for index in (1, 2):
        x = op.relu(normalized(doubled(x), f"transformer/expand/conv{index}/conv"))
    x = op.sigmoid(normalized(x, "transformer/expand/conv3/conv"))
    picture = op.transpose(x, op.constant(np.array([0, 2, 3, 1])))
    return ov.Model([picture], [content, vector], "lite_transformer")
