"""J(G) and its gradient in tiles, for pictures whose features do not fit into memory.

Content costs, Gram matrices, means and covariances follow from sums over positions. A first pass over the tiles adds
them up. The sums give the derivative of J by each of them, and with it a second pass adds up the gradient. Every tile
has a halo as wide as the network's field, so the result is that of the whole picture, up to rounding. It costs one more
pass, and the halos.
"""

from __future__ import annotations

import math
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
from .style_losses import STYLE_LOSSES, Sums

ALIGNMENT = 16
"""Borders of tiles are multiples of this many pixels, so that the four pools of a VGG halve them exactly."""

SMALLEST_TILE = 128
"""Minimum side of a tile in pixels. Smaller tiles are mostly halo."""

_kept: dict[tuple[Any, ...], _Program] = {}
"""The last program. Compiling takes seconds, and the scales of a run share one."""


def needs_whole(preset: Preset) -> str:
    """Return what of a preset needs the features of the whole picture at once; empty if nothing does."""
    if STYLE_LOSSES[preset.style_loss].sums is None:
        return f"preset {preset.name} compares styles by {preset.style_loss}, which"
    return "normalize_gradients" if preset.normalize_gradients else ""


def check_tiles(preset: Preset) -> None:
    """Raise InvalidOption if the preset needs the features of the whole picture at once."""
    if cause := needs_whole(preset):
        raise InvalidOption(f"{cause} needs the whole picture at once; leave out the tiles")


class TiledObjective:
    """The cost of pictures of one size under one preset, as `Objective`, computed in tiles.

    Args:
        content: float32 [1, H, W, 3], RGB, 0..1. All pictures must have this shape.
        styles: At least one style, of any size. Their weights are normalized to sum to 1.
        preset: A preset that `check_tiles` accepts.
        weights: Weights of the preset's network.
        tile: Side of a tile in pixels, without its halo.
        bfloat16: True to run the convolutions in bfloat16.

    Raises:
        InvalidOption: There is no style, a mask has not the content's size, the weights are of another network, or
            `check_tiles`.
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
        check_given(content, styles, preset, weights)
        check_tiles(preset)
        self.preset = preset
        self._tile = tile
        self._factors = factors(preset)
        self._shares = shares(styles)
        masks = [style.mask for style in styles if style.mask is not None]
        plain = len(masks) < len(styles)
        regions = iter(range(plain, plain + len(masks)))
        self._regions = [0 if style.mask is None else next(regions) for style in styles]
        """For each style, its place among the sums of a layer. Styles without a mask share the first."""
        key = (weights.digest, preset.key, bfloat16, plain, len(masks))
        if key not in _kept:
            _kept.clear()
            _kept[key] = _Program(weights, preset, bfloat16, plain, len(masks))
        self._program = _kept[key]
        check_sizes(self._program.network, content, styles)
        small = [_at_layers(mask, preset) for mask in masks]
        self._contents = [self._program.content(tile.pixels, tile.inner) for tile in self._tiles(content)]
        self._masks = [
            tuple({name: mask[tile.at(stride(name))] for name, mask in each.items()} for each in small)
            for tile in self._tiles(content)
        ]
        self._styles = [self._target(style.pixels) for style in styles]
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
        for tile, targets, masks in zip(self._tiles(pixels), self._contents, self._masks, strict=True):
            part = self._program.slope(tile.pixels, tile.inner, targets, masks, weights, slopes)
            gradient[tile.slices] += part.numpy()
        return found, gradient

    def _measured(self, pixels: Pixels) -> tuple[Costs, Any, NDArray[np.float32]]:
        """Return all costs, the derivative of J by each sum of the style layers, and the gradient of the total
        variation [1, H, W, 3]."""
        preset = self.preset
        total: Any = None
        for tile, targets, masks in zip(self._tiles(pixels), self._contents, self._masks, strict=True):
            total = _plus(total, self._program.measure(tile.pixels, tile.inner, targets, masks))
        distances, sums = total
        terms = [self._content_factor(layer, pixels) * distances[layer] for layer in preset.content_layers]
        styles, slopes = self._style_terms(sums)
        variation, gradient = self._program.variation(pixels)
        return named_costs(preset, self._factors, [*terms, *styles, float(variation), 0.0]), slopes, gradient.numpy()

    def _style_terms(self, sums: Any) -> tuple[list[float], Any]:
        """Return the style cost of each layer, and the derivative of J by each of the sums, float32."""
        import tensorflow as tf

        preset = self.preset
        loss = STYLE_LOSSES[preset.style_loss]
        exact = tf.nest.map_structure(tf.constant, sums)
        terms, weighted = [], tf.constant(0.0)
        with tf.GradientTape() as tape:
            tape.watch(exact)
            for layer, factor in zip(preset.style_layers, self._factors[len(preset.content_layers) :], strict=False):
                statistics = [self._statistics(each) for each in exact[layer]]
                term = tf.constant(0.0)
                for region, share, target in zip(self._regions, self._shares, self._styles, strict=True):
                    term += share * loss.cost(statistics[region], target[layer], preset.style_normalizer)
                weighted += factor * term
                terms.append(float(term))
        slopes = tape.gradient(weighted, exact, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return terms, tf.nest.map_structure(lambda slope: tf.cast(slope, tf.float32), slopes)

    def _target(self, pixels: Pixels) -> dict[str, Any]:
        """Return what a style is compared by at each style layer."""
        import tensorflow as tf

        total: Any = None
        for tile in self._tiles(pixels):
            total = _plus(total, self._program.style(tile.pixels, tile.inner))
        sums = tf.nest.map_structure(tf.constant, total)
        loss = STYLE_LOSSES[self.preset.style_loss]
        return {name: loss.target(self._statistics(each)) for name, each in sums.items()}

    def _statistics(self, sums: tuple[Any, ...]) -> Any:
        """Return the statistics that follow from the sums of a layer."""
        return _sums(self.preset).statistics(sums, self.preset.gram_normalizer)

    def _content_factor(self, layer: str, pixels: Pixels) -> float:
        positions = math.prod(side // stride(layer) for side in pixels.shape[1:3])
        return float(costs.content_factor(self.preset.content_normalizer, positions * channels(layer)))

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

    def at(self, step: int) -> tuple[slice, slice, slice]:
        """Return the place of the inner part in the picture, at a layer whose positions are `step` pixels apart."""
        down, right = (part.start for part in self.slices[1:])
        top, bottom, left, right = self.inner // step + np.repeat([down, right], 2) // step
        return slice(None), slice(top, bottom), slice(left, right)


class _Program:
    """The compiled functions over one tile of any size.

    The sums of a style layer are a tuple with one entry for the whole picture, if any style has no mask (`plain`), and
    one for each of `masks` masks.
    """

    def __init__(self, weights: Weights, preset: Preset, bfloat16: bool, plain: bool, masks: int) -> None:
        import tensorflow as tf

        sums_of = _sums(preset).of
        self.network = Network(
            weights, preset.layers, pooling=preset.pooling, padding=preset.padding, bfloat16=bfloat16
        )
        trim()
        self.halo = -(-reach(self.network.path) // ALIGNMENT) * ALIGNMENT
        pixels, inner, scalar = tf.TensorSpec((1, None, None, 3)), tf.TensorSpec((4,), tf.int32), tf.TensorSpec(())
        targets = {name: tf.TensorSpec((1, None, None, channels(name))) for name in preset.content_layers}
        regions = ({name: tf.TensorSpec((1, None, None, 1)) for name in preset.style_layers},) * masks

        def features(part: Any, inner: Any) -> dict[str, Any]:
            found = {}
            for name, x in self.network(part).items():
                top, bottom, left, right = tf.unstack(inner // stride(name))
                found[name] = x[:, top:bottom, left:right]
            return found

        def content(part: Any, inner: Any) -> dict[str, Any]:
            found = features(part, inner)
            return {name: tf.cast(found[name], tf.float32) for name in preset.content_layers}

        def style(part: Any, inner: Any) -> dict[str, Any]:
            found = features(part, inner)
            return {name: sums_of(found[name], None) for name in preset.style_layers}

        def measure(part: Any, inner: Any, targets: Mapping[str, Any], masks: Sequence[Any]) -> tuple[Any, Any]:
            found = features(part, inner)
            distances = {name: costs.squared_distance(found[name], target) for name, target in targets.items()}
            sums = {
                name: tuple(
                    sums_of(found[name], mask) for mask in [*([None] if plain else []), *(each[name] for each in masks)]
                )
                for name in preset.style_layers
            }
            return distances, sums

        def slope(
            part: Any, inner: Any, targets: Mapping[str, Any], masks: Sequence[Any], weights: Sequence[Any], slopes: Any
        ) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(part)
                distances, sums = measure(part, inner, targets, masks)
                total = sum((w * each for w, each in zip(weights, distances.values(), strict=True)), tf.constant(0.0))
                for by, each in zip(tf.nest.flatten(slopes), tf.nest.flatten(sums), strict=True):
                    total += tf.reduce_sum(by * each)
            return tape.gradient(total, part, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        def variation(pixels: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(pixels)
                term = costs.total_variation(pixels, preset.variation)
            return term, preset.variation_weight * tape.gradient(term, pixels)

        def compiled(function: Any, *takes: Any) -> Any:
            return tf.function(function, input_signature=takes, autograph=False)

        self.content = compiled(content, pixels, inner)
        self.style = compiled(style, pixels, inner)
        self.measure = compiled(measure, pixels, inner, targets, regions)
        sums = self.measure.get_concrete_function().structured_outputs[1]
        slopes = tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape), sums)
        self.slope = compiled(slope, pixels, inner, targets, regions, [scalar] * len(targets), slopes)
        self.variation = compiled(variation, pixels)


def _sums(preset: Preset) -> Sums:
    sums = STYLE_LOSSES[preset.style_loss].sums
    assert sums is not None  # by `check_tiles`
    return sums


def _plus(total: Any, more: Any) -> Any:
    """Return the sum of two structures of tensors in double precision; `more` for a total of None."""
    import tensorflow as tf

    exact = tf.nest.map_structure(lambda each: each.numpy().astype(np.float64), more)
    return exact if total is None else tf.nest.map_structure(np.add, total, exact)


def _at_layers(mask: Pixels, preset: Preset) -> dict[str, Any]:
    """Return a mask [1, H, W, 1] averaged over the positions of each style layer."""
    import tensorflow as tf

    height, width = mask.shape[1:3]
    sizes = {name: (height // stride(name), width // stride(name)) for name in preset.style_layers}
    return {name: tf.image.resize(mask, size, method="area").numpy() for name, size in sizes.items()}
