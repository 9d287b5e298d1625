"""A VGG as a feature extractor, built in TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import InvalidImage, InvalidOption
from .architecture import PADDINGS, POOLINGS, check_layers, layers, smallest_side

if TYPE_CHECKING:
    from .weights import Weights

MEAN_RGB = (123.68, 116.779, 103.939)
"""Mean of the ImageNet training pictures, RGB, 0..255. The Caffe model was trained with this mean subtracted."""


class Network:
    """A VGG up to the deepest layer in `wanted`. It is built into the graph that calls it.

    Args:
        weights: Kernels and biases.
        wanted: The layers to return. Nothing beyond the deepest of them is built.
        pooling: "average" (Gatys et al. 2016, section 2) or "max" (as in training).
        padding: "zero" (as in training), or "replicate": conv1_1 gets the border repeated, so that an optimizer does
            not draw noise along it.
        bfloat16: Run the convolutions on bfloat16 operands, and return bfloat16 features.
    """

    def __init__(
        self,
        weights: Weights,
        wanted: Iterable[str],
        *,
        pooling: str = "average",
        padding: str = "zero",
        bfloat16: bool = False,
    ) -> None:
        import tensorflow as tf

        if pooling not in POOLINGS:
            raise InvalidOption(f"unknown pooling {pooling!r}; known: {', '.join(POOLINGS)}")
        if padding not in PADDINGS:
            raise InvalidOption(f"unknown padding {padding!r}; known: {', '.join(PADDINGS)}")
        self.wanted = check_layers(weights.network, wanted)
        if not self.wanted:
            raise InvalidOption("no layer is wanted; name at least one")
        everything = layers(weights.network)
        self.path = everything[: everything.index(self.wanted[-1]) + 1]
        self.pooling = pooling
        self.padding = padding
        self._kind = tf.bfloat16 if bfloat16 else tf.float32
        self._operands: dict[str, tuple[Any, ...]] = {}
        for name in self.path:
            if name.startswith("conv"):
                kernel, bias = weights.tensors[name]
                if name == "conv1_1":
                    # The published kernel takes BGR in 0..255; this one takes RGB in 0..1.
                    kernel = kernel[:, :, ::-1] * 255.0
                # The gradient of a 3x3 'same' convolution is again one, with the kernel turned by 180 degrees and its
                # channels exchanged; as a constant it takes the fast path of inference kernels.
                turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
                kind = self._kind.as_numpy_dtype
                self._operands[name] = tuple(tf.constant(operand.astype(kind)) for operand in (kernel, turned, bias))

    def check_size(self, height: int, width: int, what: str = "picture") -> None:
        """Raise InvalidImage for a picture that is too small for the deepest layer; `what` is its name."""
        least = smallest_side(self.path)
        if min(height, width) < least:
            raise InvalidImage(
                f"{what} is {width}x{height} px; layer {self.wanted[-1]} needs at least {least} px on each side"
            )

    def __call__(self, pixels: Any) -> dict[str, Any]:
        """Return the features of `pixels`.

        A graph that calls this captures the kernels and does not hold them as constants. oneDNN lays constants out for
        the processor once rather than at every step, which saves an eighth of a float32 step. But TensorFlow then keeps
        some four copies of every kernel: 1.3 GB more for VGG-19.

        Args:
            pixels: Tensor [N, H, W, 3], RGB, 0..1.

        Returns:
            Tensors [N, H', W', C] by layer name, float32 or bfloat16 as the network is.

        Raises:
            InvalidImage: A side is too short for the deepest layer.
        """
        import tensorflow as tf

        if pixels.shape[1] is not None:
            self.check_size(pixels.shape[1], pixels.shape[2])
        features: dict[str, Any] = {}
        x = tf.cast(pixels - tf.constant(MEAN_RGB) / 255.0, self._kind)
        for name in self.path:
            if name.startswith("conv"):
                # Fused with the rectifier unless the response before it is wanted.
                fused = name not in self.wanted
                padded = name == "conv1_1" and self.padding == "replicate"
                if padded:
                    # For one row, SYMMETRIC padding is the same as replicating the border.
                    x = tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "SYMMETRIC")
                x = _convolve(x, *self._operands[name], rectify=fused, padded=padded)
            elif name.startswith("relu"):
                x = x if fused else tf.nn.relu(x)
            elif self.pooling == "average":
                x = _average(x)
            else:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            if name in self.wanted:
                features[name] = x
        return features


def _convolve(x: Any, kernel: Any, turned: Any, bias: Any, *, rectify: bool, padded: bool = False) -> Any:
    """Return the 3x3 convolution of `x` [N, H, W, in], rectified or not. It is differentiable in `x` alone.

    Args:
        padded: True if `x` has its padding already; else zeros are added.
    """
    import tensorflow as tf

    def convolve(x: Any) -> Any:
        y = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID" if padded else "SAME"), bias)
        y = tf.nn.relu(y) if rectify else y

        def gradient(upstream: Any) -> Any:
            if rectify:
                upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=y)
            if padded:
                upstream = tf.pad(upstream, ((0, 0), (1, 1), (1, 1), (0, 0)))
            return tf.nn.conv2d(upstream, turned, 1, "SAME")

        return y, gradient

    return tf.custom_gradient(convolve)(x)


def _average(x: Any) -> Any:
    """Return the 2x2 average pooling of `x` [N, H, W, C]. The last row or column of an odd side is left out."""
    import tensorflow as tf

    def pool(x: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # Each of four positions gets a quarter. Resizing does that faster than the gradient of the pool.
            height, width = tf.shape(x)[1], tf.shape(x)[2]
            spread = tf.raw_ops.ResizeNearestNeighbor(
                images=upstream * tf.constant(0.25, upstream.dtype),
                size=(height // 2 * 2, width // 2 * 2),
                half_pixel_centers=True,
            )
            return tf.pad(spread, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))

        return tf.nn.avg_pool2d(x, 2, 2, "VALID"), gradient

    return tf.custom_gradient(pool)(x)
