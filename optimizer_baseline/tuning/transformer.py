"""The served network's transformer as a differentiable TensorFlow function, from the same weights as the served graph.

The layers are those of `stylewire_server.models.transformer`, in their plain form. A style is a vector [D] and a tuning
[P]: the network's affine maps carry the vector to the scales and offsets of all conditional norms, and the tuning is
added to them. The tuning's numbers are in the order of `style_layers`, as in a style file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stylewire_server.models.network import Network

_NORM = "/StyleNorm/Conv"


def read_weights(network: Network) -> Mapping[str, NDArray[np.float32]]:
    """Return the transformer's weights under their TensorFlow names, as the server reads them.

    Raises:
        WeightsError: A file is missing or damaged.
    """
    from stylewire_server.models.lite import read_transformer

    if network.frozen is None:
        return read_transformer()
    from stylewire_server.preparation.savedmodel import transformer_weights

    return transformer_weights(network.frozen.transformer.read_bytes())


class Transformer:
    """The transformer of one network.

    Args:
        weights: As `read_weights` returns them.

    Attributes:
        style_dimension: Length D of a style vector.
        parameters: Number P of scales and offsets.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        from stylewire_server.models.transformer import EPSILON, style_layers

        self._epsilon = EPSILON
        layers = style_layers(weights)
        self._map = np.concatenate([weights[f"{name}/weights"][:, :, 0, 0] for name in layers])
        self._bias = np.concatenate([weights[f"{name}/Conv2D_bias"] for name in layers])
        self.parameters, self.style_dimension = self._map.shape
        ends = np.cumsum([weights[f"{name}/Conv2D_bias"].size for name in layers])
        starts = np.concatenate([[0], ends[:-1]])
        self._slices = {
            name.removeprefix("style_params/"): slice(int(start), int(end))
            for name, start, end in zip(layers, starts, ends, strict=True)
        }
        # OpenVINO keeps kernels as [out, in, height, width], TensorFlow as [height, width, in, out].
        self._kernels = {
            name.removesuffix("/weights"): np.ascontiguousarray(value.transpose(2, 3, 1, 0))
            for name, value in weights.items()
            if name.startswith("transformer/") and name.endswith("/weights")
        }
        self._biases = {name: weights[f"{name}/Conv2D_bias"] for name in self._kernels if "/contract/" in name}
        self._blocks = sum(
            bool(re.fullmatch(r"transformer/residual/residual\d+/conv1", name)) for name in self._kernels
        )

    def norm_parameters(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scales and offsets [P] that the network's affine maps make of a style vector [D]."""
        return (self._map @ vector + self._bias).astype(np.float32)

    def contract(self, content: Any) -> Any:
        """Return what the three contracting layers make of a content [N, H, W, 3] in 0..1: no style takes part."""
        import tensorflow as tf

        x = content
        for index, stride in ((1, 1), (2, 2), (3, 2)):
            name = f"transformer/contract/conv{index}"
            x = tf.nn.relu(self._convolve(x, name, stride) + self._biases[name])
        return x

    def paint(self, x: Any, parameters: Any) -> Any:
        """Return the picture [N, H, W, 3] in 0..1 of a contracted content, by scales and offsets [P]."""
        import tensorflow as tf

        def normalized(x: Any, name: str) -> Any:
            mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
            scale, offset = (parameters[self._slices[f"{name}{_NORM}{suffix}"]] for suffix in ("_1", ""))
            scale = scale * tf.math.rsqrt(variance + self._epsilon)
            return x * scale + (offset - mean * scale)

        def layer(x: Any, name: str) -> Any:
            return normalized(self._convolve(x, name), name)

        for index in range(1, self._blocks + 1):
            first, second = (f"transformer/residual/residual{index}/conv{half}" for half in (1, 2))
            x = x + layer(tf.nn.relu(layer(x, first)), second)
        for index in (1, 2):
            x = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
            x = tf.nn.relu(layer(x, f"transformer/expand/conv{index}/conv"))
        return tf.sigmoid(layer(x, "transformer/expand/conv3/conv"))

    def _convolve(self, x: Any, name: str, stride: int = 1) -> Any:
        import tensorflow as tf

        kernel = self._kernels[name]
        margin = kernel.shape[0] // 2
        padded = tf.pad(x, [[0, 0], [margin, margin], [margin, margin], [0, 0]], "REFLECT")
        return tf.nn.conv2d(padded, kernel, stride, "VALID")
