"""J(G) and its gradient in tiles, for pictures whose features do not fit into memory.

Content costs and Gram matrices are sums over positions. A first pass over the tiles adds them up. The sums give the
derivative of J by each Gram matrix, and with it a second pass adds up the gradient. Every tile has a halo as wide as
the network's field, so the result is that of the whole picture, up to rounding. It costs one more pass, and the halos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stylewire_server.engine.memory import trim
from stylewire_server.engine.spans import spans

from ..errors import InvalidOption
from ..images import Pixels
from ..vgg.architecture import channels, reach, stride
from ..vgg.network import Network
from ..vgg.weights import Weights
from . import costs
from .objective import Costs, Style, check_given, check_sizes, named_costs, shares
from .presets import Preset
from .program import factors

ALIGNMENT = 16
"""Borders of tiles are multiples of this many pixels, so that the four pools of a VGG halve them exactly."""

SMALLEST_TILE = 128
"""Minimum side of a tile in pixels. Smaller tiles are mostly halo."""

_kept: dict[tuple[Any, ...], _Program] = {}
"""The last program. Compiling takes seconds, and the scales of a run share one."""


def check_tiles(preset: Preset) -> None:
    """Raise InvalidOption if the preset needs the features of the whole picture at once."""
    if preset.style_loss != "gram":
        raise InvalidOption(f"preset {preset.name} compares styles by {preset.style_loss}; tiles need Gram matrices")
    if preset.normalize_gradients:
        raise InvalidOption("normalized gradients need the whole picture at once; leave out the tiles")


class TiledObjective:
    """The cost of pictures of one size under one preset, as `Objective`, computed in tiles.

    Args:
        content: float32 [1, H, W, 3], RGB, 0..1. All pictures must have this shape.
        styles: At least one style, of any size, without a mask. Their weights are normalized to sum to 1.
        preset: A preset whose style loss is "gram".
        weights: Weights of the preset's network.
        tile: Side of a tile in pixels, without its halo.
        bfloat16: True to run the convolutions in bfloat16.

    Raises:
        InvalidOption: There is no style or one with a mask, the weights are of another network, or `check_tiles`.
        InvalidImage: A picture is too small for the deepest layer.
    """

    def __init__(
        self,
        content: Pixels,
        styles: Sequence[Style],
        preset: Preset,
        weights: Weights,
        *,
        tile: int,
        bfloat16: bool = False,
    ) -> None:
        check_given(styles, preset, weights)
        check_tiles(preset)
        if any(style.mask is not None for style in styles):
            raise InvalidOption("a mask needs the whole picture at once; leave out the tiles")
        self.preset = preset
        self._tile = tile
        self._factors = factors(preset)
        self._shares = shares(styles)
        key = (weights.digest, preset.key, bfloat16)
        if key not in _kept:
            _kept.clear()
            _kept[key] = _Program(weights, preset, bfloat16)
        self._program = _kept[key]
        check_sizes(self._program.network, content, styles)
        self._contents = [self._program.content(tile.pixels, tile.inner) for tile in self._tiles(content)]
        self._styles = [self._style(style.pixels) for style in styles]
        trim()

    def costs(self, pixels: Pixels) -> Costs:
        """Return all costs of `pixels` [1, H, W, 3], without a gradient."""
        return self._measured(pixels)[0]

    def value_and_gradient(self, pixels: Pixels) -> tuple[Costs, NDArray[np.float32]]:
        """Return all costs of `pixels` [1, H, W, 3], and dJ/dG of the same shape."""
        found, slopes, gradient = self._measured(pixels)
        weights = [
            np.float32(factor * self._content_factor(layer, pixels))
            for factor, layer in zip(self._factors, self.preset.content_layers, strict=False)
        ]
        for tile, targets in zip(self._tiles(pixels), self._contents, strict=True):
            gradient[tile.slices] += self._program.slope(tile.pixels, tile.inner, targets, weights, slopes).numpy()
        return found, gradient

    def _measured(self, pixels: Pixels) -> tuple[Costs, dict[str, NDArray[np.float32]], NDArray[np.float32]]:
        """Return all costs, the derivative of J by the sum F^T F of each style layer, and the gradient of the total
        variation [1, H, W, 3]."""
        preset = self.preset
        distances: dict[str, Any] = {}
        grams: dict[str, Any] = {}
        for tile, targets in zip(self._tiles(pixels), self._contents, strict=True):
            one, other = self._program.measure(tile.pixels, tile.inner, targets)
            _add(distances, one)
            _add(grams, other)
        terms = [self._content_factor(layer, pixels) * distances[layer] for layer in preset.content_layers]
        slopes = {}
        for layer, weight in zip(preset.style_layers, self._factors[len(terms) :], strict=False):
            divisor = self._gram_divisor(layer, pixels)
            factor = costs.style_factor(preset.style_normalizer, channels(layer))
            differences = [grams[layer] / divisor - style[layer] for style in self._styles]
            each = [factor * float(np.square(difference).sum()) for difference in differences]
            terms.append(float(np.dot(self._shares, each)))
            slope = 2.0 * factor * weight / divisor * np.tensordot(self._shares, differences, 1)
            slopes[layer] = slope.astype(np.float32)
        variation, gradient = self._program.variation(pixels)
        terms += [float(variation), 0.0]
        return named_costs(preset, self._factors, terms), slopes, gradient.numpy()

    def _style(self, pixels: Pixels) -> dict[str, NDArray[np.float64]]:
        """Return the Gram matrix of a style at each style layer."""
        grams: dict[str, Any] = {}
        for tile in self._tiles(pixels):
            _add(grams, self._program.grams(tile.pixels, tile.inner))
        return {layer: gram / self._gram_divisor(layer, pixels) for layer, gram in grams.items()}

    def _content_factor(self, layer: str, pixels: Pixels) -> float:
        return float(costs.content_factor(self.preset.content_normalizer, _positions(layer, pixels) * channels(layer)))

    def _gram_divisor(self, layer: str, pixels: Pixels) -> float:
        return float(costs.gram_divisor(self.preset.gram_normalizer, _positions(layer, pixels), channels(layer)))

    def _tiles(self, pixels: Pixels) -> Iterator[_Tile]:
        axes = (spans(length, self._tile, self._program.halo, ALIGNMENT) for length in pixels.shape[1:3])
        for down, right in product(*axes):
            slices = (slice(None), slice(down.first, down.last), slice(right.first, right.last))
            yield _Tile(np.ascontiguousarray(pixels[slices]), np.array([*down.inner, *right.inner], np.int32), slices)


@dataclass(frozen=True)
class _Tile:
    """A part of a picture: its pixels with the halo, the borders of its inner part (top, bottom, left, right) in them,
    and its place in the picture with the halo."""

    pixels: Pixels
    inner: NDArray[np.int32]
    slices: tuple[slice, slice, slice]


class _Program:
    """The compiled functions over one tile of any size."""

    def __init__(self, weights: Weights, preset: Preset, bfloat16: bool) -> None:
        import tensorflow as tf

        self.network = Network(
            weights, preset.layers, pooling=preset.pooling, padding=preset.padding, bfloat16=bfloat16
        )
        trim()
        self.halo = -(-reach(self.network.path) // ALIGNMENT) * ALIGNMENT
        pixels, inner, scalar = tf.TensorSpec((1, None, None, 3)), tf.TensorSpec((4,), tf.int32), tf.TensorSpec(())
        targets = {name: tf.TensorSpec((1, None, None, channels(name))) for name in preset.content_layers}
        slopes = {name: tf.TensorSpec((channels(name),) * 2) for name in preset.style_layers}

        def features(part: Any, inner: Any) -> dict[str, Any]:
            found = {}
            for name, x in self.network(part).items():
                top, bottom, left, right = tf.unstack(inner // stride(name))
                found[name] = x[:, top:bottom, left:right]
            return found

        def content(part: Any, inner: Any) -> dict[str, Any]:
            found = features(part, inner)
            return {name: tf.cast(found[name], tf.float32) for name in preset.content_layers}

        def grams(part: Any, inner: Any) -> dict[str, Any]:
            found = features(part, inner)
            return {name: costs.products(found[name]) for name in preset.style_layers}

        def measure(part: Any, inner: Any, targets: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
            found = features(part, inner)
            distances = {name: costs.squared_distance(found[name], target) for name, target in targets.items()}
            return distances, {name: costs.products(found[name]) for name in preset.style_layers}

        def slope(
            part: Any, inner: Any, targets: Mapping[str, Any], weights: Sequence[Any], slopes: Mapping[str, Any]
        ) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(part)
                distances, found = measure(part, inner, targets)
                total = sum((w * each for w, each in zip(weights, distances.values(), strict=True)), tf.constant(0.0))
                total += sum((tf.reduce_sum(slopes[name] * each) for name, each in found.items()), tf.constant(0.0))
            return tape.gradient(total, part, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        def variation(pixels: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(pixels)
                term = costs.total_variation(pixels, preset.variation)
            return term, preset.variation_weight * tape.gradient(term, pixels)

        def compiled(function: Any, *takes: Any) -> Any:
            return tf.function(function, input_signature=takes, autograph=False)

        self.content = compiled(content, pixels, inner)
        self.grams = compiled(grams, pixels, inner)
        self.measure = compiled(measure, pixels, inner, targets)
        self.slope = compiled(slope, pixels, inner, targets, [scalar] * len(targets), slopes)
        self.variation = compiled(variation, pixels)


def _add(sums: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add tensors to sums of the same names, in double precision."""
    for name, each in more.items():
        sums[name] = sums.get(name, 0.0) + each.numpy().astype(np.float64)


def _positions(layer: str, pixels: Pixels) -> int:
    return (pixels.shape[1] // stride(layer)) * (pixels.shape[2] // stride(layer))
