"""J(G) and its gradient over the pixels of G, for one content and its styles. Targets are computed once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from stylewire_server.engine.memory import trim

from ..errors import InvalidOption
from ..images import Pixels
from ..vgg.network import Network
from ..vgg.weights import Weights
from .presets import Preset
from .program import CustomCost, Targets, program


@dataclass(frozen=True)
class Style:
    """A style picture [1, H, W, 3], its weight, and a mask [1, H', W', 1] of the content's size, 1 where it applies."""

    pixels: Pixels
    weight: float = 1.0
    mask: Pixels | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InvalidOption(f"style weight is {self.weight}; a share is a finite number above 0")


@dataclass(frozen=True)
class Costs:
    """All costs of one picture. The first five are unweighted: before content_weight, style_weight, variation_weight.

    content_cost and style_cost are the preset's sums over layers, so they hold the weights of layers;
    style_cost_by_layer is each E_l alone. total_cost is J(G), all weights applied.
    """

    content_cost: float
    style_cost: float
    style_cost_by_layer: Mapping[str, float]
    total_variation: float
    custom_cost: float
    weighted_content_cost: float
    weighted_style_cost: float
    weighted_style_cost_by_layer: Mapping[str, float]
    weighted_total_variation: float
    weighted_custom_cost: float

    @property
    def total_cost(self) -> float:
        """The cost J(G), which is minimized."""
        return (
            self.weighted_content_cost
            + self.weighted_style_cost
            + self.weighted_total_variation
            + self.weighted_custom_cost
        )


class Objective:
    """The cost of pictures of one size under one preset.

    Args:
        content: float32 [1, H, W, 3], RGB, 0..1. All pictures must have this shape.
        styles: At least one style, of any size. Their weights are normalized to sum to 1.
        preset: The layers, normalizers and weights.
        weights: Weights of the preset's network.
        bfloat16: True to run the convolutions in bfloat16.
        custom: A further cost of the caller.

    Raises:
        InvalidOption: There is no style, the weights are of another network, or a mask has not the content's size.
        InvalidImage: A picture is too small for the deepest layer.
    """

    def __init__(
        self,
        content: Pixels,
        styles: Sequence[Style],
        preset: Preset,
        weights: Weights,
        *,
        bfloat16: bool = False,
        custom: CustomCost | None = None,
    ) -> None:
        import tensorflow as tf

        check_given(content, styles, preset, weights)
        masked = tuple(style.mask is not None for style in styles)
        self.preset = preset
        self._program = program(weights, preset, bfloat16=bfloat16, masked=masked, custom=custom)
        check_sizes(self._program.network, content, styles)
        nowhere = np.empty((1, 0, 0, 1), np.float32)
        self._targets = Targets(
            self._program.content(content) if preset.content_layers else {},
            [self._program.style(style.pixels) if preset.style_layers else {} for style in styles],
            [tf.constant(share, tf.float32) for share in shares(styles)],
            [tf.constant(nowhere if style.mask is None else style.mask) for style in styles],
        )
        trim()

    def costs(self, pixels: Pixels) -> Costs:
        """Return all costs of `pixels` [1, H, W, 3], without a gradient."""
        return self._named(self._program.value(pixels, self._targets).numpy())

    def value_and_gradient(self, pixels: Pixels) -> tuple[Costs, NDArray[np.float32]]:
        """Return all costs of `pixels` [1, H, W, 3], and dJ/dG of the same shape."""
        terms, gradient = self._program.step(pixels, self._targets)
        return self._named(terms.numpy()), gradient.numpy()

    def _named(self, terms: NDArray[np.float32]) -> Costs:
        return named_costs(self.preset, self._program.factors, terms)


def check_given(content: Pixels, styles: Sequence[Style], preset: Preset, weights: Weights) -> None:
    """Raise InvalidOption if there is no style, a mask has not the content's size, or the weights are of another
    network."""
    if not styles:
        raise InvalidOption("no style picture; at least one is needed")
    for style in styles:
        if style.mask is not None and style.mask.shape[1:3] != content.shape[1:3]:
            raise InvalidOption(f"mask is {style.mask.shape[1:3]}, content {content.shape[1:3]} (height, width)")
    if weights.network != preset.network:
        raise InvalidOption(f"weights are of {weights.network}; preset {preset.name} wants {preset.network}")


def check_sizes(network: Network, content: Pixels, styles: Sequence[Style]) -> None:
    """Raise InvalidImage if the content or a style is too small for the deepest layer."""
    for what, pixels in (("content", content), *(("style", style.pixels) for style in styles)):
        height, width = pixels.shape[1:3]
        network.check_size(height, width, what)


def shares(styles: Sequence[Style]) -> list[float]:
    """Return the weights of the styles, normalized to a sum of 1."""
    whole = sum(style.weight for style in styles)
    return [style.weight / whole for style in styles]


def named_costs(preset: Preset, factors: Sequence[float], terms: Iterable[float]) -> Costs:
    """Return the terms of J by name. They are in the order of `program.factors`, which are their weights."""
    raw = [float(v) for v in terms]
    weighted = [f * v if f else 0.0 for f, v in zip(factors, raw, strict=True)]
    contents = len(preset.content_layers)
    styles = slice(contents, contents + len(preset.style_layers))
    return Costs(
        content_cost=_weigh(preset.content_layers, raw[:contents]),
        style_cost=_weigh(preset.style_layers, raw[styles]),
        style_cost_by_layer=dict(zip(preset.style_layers, raw[styles], strict=True)),
        total_variation=raw[-2],
        custom_cost=raw[-1],
        weighted_content_cost=sum(weighted[:contents]),
        weighted_style_cost=sum(weighted[styles]),
        weighted_style_cost_by_layer=dict(zip(preset.style_layers, weighted[styles], strict=True)),
        weighted_total_variation=weighted[-2],
        weighted_custom_cost=weighted[-1],
    )


def _weigh(layers: Mapping[str, float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(layers.values(), values, strict=True))
