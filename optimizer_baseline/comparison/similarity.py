"""Similarity of two pictures: SSIM over pixels, a perceptual distance over VGG features, and PSNR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidImage
from ..images import Pixels, luminance
from ..vgg.network import Network
from ..vgg.weights import Weights

# Wang et al. 2004, section III-C: an 11x11 circular Gaussian of 1.5 samples; K1 = 0.01, K2 = 0.03.
SSIM_RADIUS, SSIM_SIGMA = 5, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
# The five layers of VGG-16 that Zhang et al. 2018 use.
PERCEPTUAL_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
NORM_FLOOR = 1e-10


def ssim(a: Pixels, b: Pixels) -> float:
    """Return the mean structural similarity of two pictures' luminance: 1 for equal, about 0 for unrelated ones.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE
    Transactions on Image Processing 13(4), 2004, equations 13 to 17, averaged over the places where the whole window
    lies on the picture. Luminance is Rec. 601; the dynamic range L is 1. No downsampling beforehand.

    Args:
        a, b: float32 [1, H, W, 3], RGB, 0..1, the same shape.

    Raises:
        InvalidImage: The shapes differ, or a side is shorter than the window's 11 px.
    """
    _same_shape(a, b)
    if min(a.shape[1:3]) < 2 * SSIM_RADIUS + 1:
        raise InvalidImage(f"picture is {a.shape[2]}x{a.shape[1]} px; SSIM needs at least 11 px on each side")
    x, y = (luminance(p)[0, :, :, 0].astype(np.float64) for p in (a, b))
    mean_x, mean_y = _window(x), _window(y)
    variance_x = _window(x * x) - mean_x**2
    variance_y = _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return float(similarity.mean())


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(1 / mean squared error) dB; infinite for equal pictures."""
    _same_shape(a, b)
    error = float(np.mean(np.square(a.astype(np.float64) - b)))
    return math.inf if error == 0.0 else 10.0 * math.log10(1.0 / error)


class PerceptualDistance:
    """Distance of two pictures over VGG features, in the manner of LPIPS; 0 for equal pictures.

    d(a, b) = sum_l 1/(H_l W_l) sum_p |f_a(l, p) - f_b(l, p)|^2, with f the responses of layer l at position p scaled
    to length 1 over channels: Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as
    a Perceptual Metric, CVPR 2018, equation 1 with every w_l = 1. The published LPIPS learns w_l from human judgments,
    so these numbers are not comparable with LPIPS. Pooling is max pooling, as the network was trained.
    """

    def __init__(self, weights: Weights) -> None:
        self._network = Network(weights, PERCEPTUAL_LAYERS, pooling="max")

    def __call__(self, a: Pixels, b: Pixels) -> float:
        """Return the distance of two pictures: float32 [1, H, W, 3], RGB, 0..1, one shape, sides of at least 16 px."""
        import tensorflow as tf

        _same_shape(a, b)
        features = self._network(tf.constant(np.concatenate([a, b])))
        return float(sum(_unit_distance(f.numpy()) for f in features.values()))


def _unit_distance(pair: NDArray[Any]) -> float:
    unit = pair / (np.linalg.norm(pair, axis=-1, keepdims=True) + NORM_FLOOR)
    return float(np.square(unit[0] - unit[1]).sum(-1).mean())


def _window(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gaussian-weighted local mean where the whole window lies on the picture."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    kernel = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    kernel /= kernel.sum()
    inner = slice(SSIM_RADIUS, -SSIM_RADIUS)
    blurred: NDArray[np.float64] = correlate1d(correlate1d(plane, kernel, axis=0), kernel, axis=1)[inner, inner]
    return blurred


def _same_shape(a: Pixels, b: Pixels) -> None:
    if a.shape != b.shape:
        raise InvalidImage(
            f"pictures are {a.shape[2]}x{a.shape[1]} and {b.shape[2]}x{b.shape[1]} px; they have to be of one size"
        )
