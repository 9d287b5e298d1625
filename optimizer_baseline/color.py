"""Color transfer: the colors of one picture for another, before a style is taken from it.

Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer, 2016 (arXiv:1606.05897),
section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .images import Pixels

SMALLEST_VARIANCE = 1e-5
"""Variance added along each axis of a color cloud (0..1), so that the covariance of a flat picture has an inverse."""


def match_mean_covariance(picture: Pixels, reference: Pixels) -> Pixels:
    """Return `picture` with the mean color and the covariance of `reference`, clipped to 0..1.

    x' = A x + b with A = S_ref^(1/2) S^(-1/2) and b = m_ref - A m: the paper's equations 3 to 6 in the symmetric form
    of "Image Analogies" (Hertzmann 2001).

    Args:
        picture, reference: float32 [1, H, W, 3], RGB, 0..1, of any size.
    """
    colors, target = _colors(picture), _colors(reference)
    mean, target_mean = colors.mean(0), target.mean(0)
    matrix = _power(_covariance(target), 0.5) @ _power(_covariance(colors), -0.5)
    return _picture((colors - mean) @ matrix.T + target_mean, picture)


def match_histogram(picture: Pixels, reference: Pixels) -> Pixels:
    """Return `picture` with the histogram of `reference` in each of R, G and B.

    Equal values stay equal: each gets the mean of the reference's values at its ranks.

    Args:
        picture, reference: float32 [1, H, W, 3], RGB, 0..1, of any size.
    """
    colors, target = _colors(picture), _colors(reference)
    matched = np.empty_like(colors)
    for channel in range(3):
        _, place, counts = np.unique(colors[:, channel], return_inverse=True, return_counts=True)
        middle = (np.cumsum(counts) - 0.5 * counts) / len(colors)
        wanted = np.sort(target[:, channel])
        levels = (np.arange(len(wanted)) + 0.5) / len(wanted)
        matched[:, channel] = np.interp(middle, levels, wanted)[place]
    return _picture(matched, picture)


TRANSFERS: Mapping[str, Callable[[Pixels, Pixels], Pixels]] = {
    "mean-covariance": match_mean_covariance,
    "histogram": match_histogram,
}


def _colors(picture: Pixels) -> NDArray[np.float64]:
    return picture.reshape(-1, 3).astype(np.float64)


def _picture(colors: NDArray[Any], like: Pixels) -> Pixels:
    clipped: Pixels = np.clip(colors, 0.0, 1.0).reshape(like.shape).astype(np.float32)
    return clipped


def _covariance(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    centered = colors - colors.mean(0)
    covariance: NDArray[np.float64] = centered.T @ centered / len(colors) + SMALLEST_VARIANCE * np.eye(3)
    return covariance


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Return a power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    power: NDArray[np.float64] = (vectors * values**exponent) @ vectors.T
    return power
