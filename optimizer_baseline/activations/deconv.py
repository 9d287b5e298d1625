"""A deconvnet, which projects one activation back to the pixels.

Zeiler & Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, section 2.1. On the way back, every
layer has a counterpart: for pooling, unpooling with switches (each value returns to the position of its maximum); for
the rectifier, a rectifier; for a convolution, the transposed filters without the bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidImage
from ..images import Pixels
from ..vgg import architecture
from ..vgg.network import MEAN_RGB
from ..vgg.weights import Weights


class Deconvnet:
    """A VGG up to `layer` with max pooling, and its deconvnet.

    Raises:
        InvalidOption: The network has no such layer.
    """

    def __init__(self, weights: Weights, layer: str) -> None:
        architecture.check_layers(weights.network, [layer])
        everything = architecture.layers(weights.network)
        self.layer = layer
        self._path = everything[: everything.index(layer) + 1]
        self._kernels = {}
        self._biases = {}
        for name in self._path:
            if name.startswith("conv"):
                kernel, bias = weights.tensors[name]
                # The published kernel takes BGR in 0..255; this one takes RGB in 0..1.
                self._kernels[name] = kernel[:, :, ::-1] * 255.0 if name == "conv1_1" else kernel
                self._biases[name] = bias

    def forward(self, pixels: Pixels) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return `layer`'s responses [1, H', W', C] to `pixels` [1, H, W, 3], and the switches of every pooling."""
        import tensorflow as tf

        height, width = pixels.shape[1:3]
        least = architecture.smallest_side(self._path)
        if min(height, width) < least:
            raise InvalidImage(f"picture is {width}x{height} px; layer {self.layer} needs {least} px on each side")
        x: Any = tf.constant(pixels) - tf.constant(MEAN_RGB) / 255.0
        switches: dict[str, Any] = {}
        for name in self._path:
            if name.startswith("conv"):
                x = tf.nn.conv2d(x, self._kernels[name], 1, "SAME") + self._biases[name]
            elif name.startswith("relu"):
                x = tf.nn.relu(x)
            else:
                shape = x.shape
                x, places = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID", include_batch_in_index=False)
                switches[name] = (places, shape)
        return x.numpy(), switches

    def project(self, responses: NDArray[np.float32], switches: dict[str, Any]) -> NDArray[np.float32]:
        """Return `responses` [1, H', W', C], with all others set to 0, as a pattern [1, H, W, 3] in pixel space.

        The pattern is signed: positive values are added to the mean picture, and negative ones subtracted.
        """
        import tensorflow as tf

        x: Any = tf.constant(responses)
        for name in reversed(self._path):
            if name.startswith("conv"):
                kernel = self._kernels[name]
                x = tf.nn.conv2d_transpose(x, kernel, (*x.shape[:3], kernel.shape[2]), 1, "SAME")
            elif name.startswith("relu"):
                x = tf.nn.relu(x)
            else:
                places, shape = switches[name]
                flat = tf.scatter_nd(tf.reshape(places, (-1, 1)), tf.reshape(x, (-1,)), (int(np.prod(shape)),))
                x = tf.reshape(flat, shape)
        pattern: NDArray[np.float32] = x.numpy()
        return pattern

    def project_unit(
        self, responses: NDArray[np.float32], switches: dict[str, Any], row: int, column: int, channel: int
    ) -> NDArray[np.float32]:
        """Return the pattern [1, H, W, 3] of a single activation."""
        alone = np.zeros_like(responses)
        alone[0, row, column, channel] = responses[0, row, column, channel]
        return self.project(alone, switches)
