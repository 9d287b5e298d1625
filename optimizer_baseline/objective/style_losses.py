"""The style losses that a preset can name: all that depends on the choice stands here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import costs


@dataclass(frozen=True)
class Sums:
    """The sums over positions from which the statistics of a layer follow, so that they can be added up over tiles.

    Args:
        of: Takes features [1, H, W, C] and their mask [1, H, W, 1] or None. Returns a tuple of sums.
        statistics: Takes such sums and the preset's `gram_normalizer`. Returns what `StyleLoss.statistics` returns.
    """

    of: Callable[[Any, Any], tuple[Any, ...]]
    statistics: Callable[[Any, str], Any]


@dataclass(frozen=True)
class StyleLoss:
    """A way to compare two pictures at one layer.

    Args:
        shape: Takes the layer's channels. Returns the shape of a target.
        statistics: Takes features [1, H, W, C], their mask [1, H, W, 1] or None, and the preset's `gram_normalizer`.
            Returns what is compared. It is called once for all styles without a mask.
        target: Takes the statistics of a style, without a mask. Returns what `cost` compares with.
        cost: Takes statistics of G, a target and the preset's `style_normalizer`. Returns a scalar.
        memory_factor: Bytes per pixel, relative to "gram": from peaks at 256 and 768 px ("histogram" at 256 px).
        sums: How to compute the statistics from sums; None if they need the whole picture at once.
    """

    shape: Callable[[int], tuple[int, int]]
    statistics: Callable[[Any, Any, str], Any]
    target: Callable[[Any], Any]
    cost: Callable[[Any, Any, str], Any]
    memory_factor: float
    sums: Sums | None = None


STYLE_LOSSES = {
    "gram": StyleLoss(
        shape=lambda channels: (channels, channels),
        statistics=lambda features, mask, normalizer: costs.gram_matrix(features, normalizer, mask),
        target=lambda gram: gram,
        cost=costs.style_cost,
        memory_factor=1.0,
        sums=Sums(costs.gram_sums, costs.gram_of_sums),
    ),
    "w2": StyleLoss(
        shape=lambda channels: (channels, channels + 1),
        statistics=lambda features, mask, _: costs.moments(features, mask),
        target=costs.gaussian_target,
        cost=lambda moments, target, _: costs.wasserstein_cost(moments, target),
        memory_factor=1.3,
        sums=Sums(costs.moment_sums, lambda sums, _: costs.moments_of_sums(sums)),
    ),
    "histogram": StyleLoss(
        shape=lambda channels: (channels, costs.QUANTILES),
        statistics=lambda features, mask, _: (features, mask),
        target=lambda own: costs.histogram_target(own[0]),
        cost=lambda own, target, _: costs.histogram_cost(own[0], target, own[1]),
        memory_factor=2.3,
    ),
}
"""Value of `Preset.style_loss` -> the loss."""
