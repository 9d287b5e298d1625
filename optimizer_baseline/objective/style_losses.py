"""The style losses that a preset can name: all that depends on the choice stands here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import costs


@dataclass(frozen=True)
class StyleLoss:
    """A way to compare two pictures at one layer.

    Args:
        shape: Takes the layer's channels. Returns the shape of a target.
        target: Takes the features [1, H, W, C] of a style and the preset's `gram_normalizer`. Returns a target.
        statistics: Takes the features of G, their mask [1, H, W, 1] or None, and the `gram_normalizer`. Returns what
            `cost` takes. It is called once for all styles without a mask.
        cost: Takes these statistics, a target and the preset's `style_normalizer`. Returns a scalar.
        memory_factor: Bytes per pixel, relative to "gram": from peaks at 256 and 768 px ("histogram" at 256 px).
    """

    shape: Callable[[int], tuple[int, int]]
    target: Callable[[Any, str], Any]
    statistics: Callable[[Any, Any, str], Any]
    cost: Callable[[Any, Any, str], Any]
    memory_factor: float


STYLE_LOSSES = {
    "gram": StyleLoss(
        shape=lambda channels: (channels, channels),
        target=costs.gram_matrix,
        statistics=lambda features, mask, normalizer: costs.gram_matrix(features, normalizer, mask),
        cost=costs.style_cost,
        memory_factor=1.0,
    ),
    "w2": StyleLoss(
        shape=lambda channels: (channels, channels + 1),
        target=lambda features, _: costs.gaussian_target(features),
        statistics=lambda features, mask, _: (features, mask),
        cost=lambda own, target, _: costs.wasserstein_cost(own[0], target, own[1]),
        memory_factor=1.3,
    ),
    "histogram": StyleLoss(
        shape=lambda channels: (channels, costs.QUANTILES),
        target=lambda features, _: costs.histogram_target(features),
        statistics=lambda features, mask, _: (features, mask),
        cost=lambda own, target, _: costs.histogram_cost(own[0], target, own[1]),
        memory_factor=2.3,
    ),
}
"""Value of `Preset.style_loss` -> the loss."""
