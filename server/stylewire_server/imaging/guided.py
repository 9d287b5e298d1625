"""A guided filter that enlarges a stylized picture to the size of its content, with the content's contours.

In a small window the stylized picture is close to an affine function of the content's colors. The filter finds that
function for every window of 3x3 px of the reduced content, and applies it to the content at full size. Strokes keep
their width, and contours are as sharp as in the content. Larger windows blur the strokes.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

EPSILON = 1e-4
"""Regularization: added to the variances of the content's colors in 0..1. It suppresses smaller contrasts."""

_BAND = 32
"""Rows of the reduced picture that are processed at one time."""

_HALO = 3
"""Rows around a band: two means over windows, and the neighbor of a linear interpolation."""


def enlarge(
    picture: np.ndarray, reduced: np.ndarray, content: np.ndarray, checkpoint: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Return a picture at the size of its content.

    This is the fast guided filter of He and Sun 2015, in bands of rows. The guide has colors: equations 19 to 21 of He,
    Sun and Tang 2013 (Guided Image Filtering).

    Args:
        picture: [h,w,3], uint8 or float32 in 0..1.
        reduced: The content at that size, of the same type.
        content: [H,W,3], of the same type.
        checkpoint: Called for every band; what it raises ends the work.
    """
    if picture.shape == content.shape:
        return picture
    rows, height, is_bytes = len(picture), len(content), content.dtype == np.uint8
    scale = np.float32(1 / 255 if is_bytes else 1)
    result = np.empty_like(content)
    before, share = _positions(height, rows)
    column, column_share = _positions(content.shape[1], picture.shape[1])
    following = np.minimum(column + 1, picture.shape[1] - 1)

    def widen(row: np.ndarray) -> np.ndarray:
        """Interpolate the coefficients [12,w] of a row along it."""
        left = row.take(column, 1)
        return left + (row.take(following, 1) - left) * column_share

    for start, stop in pairwise([*range(0, rows, _BAND), rows]):
        checkpoint()
        first, last = max(start - _HALO, 0), min(stop + _HALO, rows)
        narrow = _coefficients(*(each[first:last].astype(np.float32) * scale for each in (reduced, picture)))
        below = widen(narrow[start - first])
        for row in range(start, stop):
            above, below = below, widen(narrow[min(row + 1, rows - 1) - first])
            difference = below - above
            for index in range(*np.searchsorted(before, [row, row + 1])):
                # Row by row, so that all data stay in the processor's cache.
                factors = difference * share[index]
                factors += above
                values = factors[9:]
                for number, color in enumerate(content[index].T.astype(np.float32) * scale):
                    values += factors[3 * number : 3 * number + 3] * color
                result[index] = (
                    np.clip(np.rint(values * np.float32(255)), 0, 255).T if is_bytes else values.clip(0, 1).T
                )
    return result


def _positions(length: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the source position before each position of an enlarged axis, and the weight of the next one."""
    at = np.clip((np.arange(length) + 0.5) * (source / length) - 0.5, 0, source - 1)
    before = at.astype(np.intp)
    return before, (at - before).astype(np.float32)


def _coefficients(guide: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return the affine functions [h,12,w] of guide -> picture, both [h,w,3]: nine factors, then three offsets.

    Factor 3*i + j is what color i of the guide adds to color j of the picture.
    """
    colors = np.moveaxis(guide, 2, 0)
    wanted = np.moveaxis(picture, 2, 0)
    mean, mean_wanted = _box(colors), _box(wanted)
    covariance = _box(colors[:, np.newaxis] * colors) - mean[:, np.newaxis] * mean
    covariance += EPSILON * np.eye(3, dtype=np.float32)[..., np.newaxis, np.newaxis]
    cross = _box(colors[:, np.newaxis] * wanted) - mean[:, np.newaxis] * mean_wanted
    factors = _product(_inverse(covariance), cross)
    offsets = mean_wanted - _product(mean[np.newaxis], factors)[0]
    return np.moveaxis(_box(np.concatenate([factors.reshape(9, *offsets.shape[1:]), offsets])), 0, 1)


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the matrix products of [i,3,h,w] and [3,j,h,w]; einsum takes three times as long."""
    parts = [left[:, index, np.newaxis] * right[index] for index in range(3)]
    return parts[0] + parts[1] + parts[2]


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the inverses of symmetric matrices [3,3,h,w], by cofactors."""
    (a, b, c), (_, d, e), (_, _, f) = matrix
    rows = [
        [d * f - e * e, c * e - b * f, b * e - c * d],
        [c * e - b * f, a * f - c * c, b * c - a * e],
        [b * e - c * d, b * c - a * e, a * d - b * b],
    ]
    determinant = a * rows[0][0] + b * rows[0][1] + c * rows[0][2]
    return np.array(rows) / determinant


def _box(planes: np.ndarray) -> np.ndarray:
    """Return the means over windows of 3x3 of planes [...,h,w]; the edge's values are repeated beyond it."""
    padded = np.pad(planes, [(0, 0)] * (planes.ndim - 2) + [(1, 1)] * 2, mode="edge")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) * np.float32(1 / 9)
