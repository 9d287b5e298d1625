"""The positions in a set of pictures that excite a unit most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .receptive import Geometry, box


@dataclass(frozen=True)
class Peak:
    """A response of a channel: the picture, the position in the feature map, the value, and the pixels that it sees."""

    picture: int
    row: int
    column: int
    value: float
    box: tuple[int, int, int, int]


def peaks(
    maps: Sequence[NDArray[np.float32]],
    sizes: Sequence[tuple[int, int]],
    geometry: Geometry,
    count: int = 9,
) -> list[Peak]:
    """Return the strongest `count` responses of one channel, strongest first.

    Zeiler & Fergus show the top nine over a validation set, one for each picture. Folders are smaller, so a picture may
    come more than once here, if the receptive fields are at least half their size apart.

    Args:
        maps: Responses [H', W'] of that channel to each picture. Responses of 0 or less do not count.
        sizes: (height, width) of each picture in pixels.
    """
    apart = max(1, round(geometry.size / 2 / geometry.stride))
    found: list[Peak] = []
    for number, (original, (height, width)) in enumerate(zip(maps, sizes, strict=True)):
        left = original.copy()
        for _ in range(count):
            row, column = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
            value = float(left[row, column])
            if value <= 0.0:
                break
            found.append(Peak(number, row, column, value, box(geometry, row, column, height, width)))
            left[max(0, row - apart + 1) : row + apart, max(0, column - apart + 1) : column + apart] = -np.inf
    return sorted(found, key=lambda peak: -peak.value)[:count]


def strongest_channels(responses: Sequence[NDArray[np.float32]], count: int) -> list[int]:
    """Return the `count` channels with the highest response anywhere in `responses` [1, H', W', C], highest first."""
    highest = np.max([r.max(axis=(0, 1, 2)) for r in responses], axis=0)
    return [int(c) for c in np.argsort(-highest, kind="stable")[:count]]
