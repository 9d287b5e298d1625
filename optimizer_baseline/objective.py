"""J(G) and its gradient over the pixels of G: targets computed once, one compiled step."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer_baseline import costs, vgg
from optimizer_baseline.errors import InvalidOption
from optimizer_baseline.images import Pixels
from optimizer_baseline.presets import Preset
from optimizer_baseline.weights import Weights


@dataclass(frozen=True)
class Style:
    """One style picture [1, H, W, 3], its share, and where it goes: a mask [1, H', W', 1] of the content's size."""

    pixels: Pixels
    weight: float = 1.0
    mask: Pixels | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InvalidOption(f"style weight is {self.weight}; a share is a finite number above 0")


@dataclass(frozen=True)
class CustomCost:
    """A caller's own cost: `function` takes {layer: features [1, H, W, C]} of G and returns a scalar tensor."""

    layers: Sequence[str]
    function: Callable[[Mapping[str, Any]], Any]
    weight: float = 1.0


@dataclass(frozen=True)
class Costs:
    """Every cost of one picture. The first four are unweighted: before content_weight, style_weight, variation_weight.

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
        return (
            self.weighted_content_cost
            + self.weighted_style_cost
            + self.weighted_total_variation
            + self.weighted_custom_cost
        )


class Objective:
    """The cost of pictures of one size under one preset.

    Args:
        content: float32 [1, H, W, 3], RGB, 0..1; every picture it is asked about has this shape.
        styles: at least one; their weights are normalised to sum to 1, their sizes are free.
        preset: which layers, normalisers and weights.
        weights: of the preset's network.
        bfloat16: run the convolutions on bfloat16.
        custom: a further cost of the caller's.

    Raises:
        InvalidOption: no style, weights of another network, or a mask of another size than the content.
        InvalidImage: a picture too small for the deepest layer.
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

        # A compiled step holds the network as constants, some 0.9 GB for VGG-16, and hangs in reference cycles: the one
        # of an objective that nobody holds any more must not wait for Python's own time.
        gc.collect()
        if not styles:
            raise InvalidOption("no style picture; at least one is needed")
        if weights.network != preset.network:
            raise InvalidOption(f"weights are of {weights.network}; preset {preset.name} wants {preset.network}")
        for style in styles:
            if style.mask is not None and style.mask.shape[1:3] != content.shape[1:3]:
                raise InvalidOption(f"mask is {style.mask.shape[1:3]}, content {content.shape[1:3]} (height, width)")
        self.preset = preset
        self.shape = content.shape
        self._custom = custom
        share = sum(style.weight for style in styles)
        self._shares = [style.weight / share for style in styles]
        self._masks = [style.mask for style in styles]

        def network(wanted: Sequence[str]) -> vgg.Network:
            return vgg.Network(weights, wanted, pooling=preset.pooling, bfloat16=bfloat16)

        # All of it first, so that a picture that is too small hears of the deepest layer.
        self._network = network((*preset.layers, *(custom.layers if custom else ())))
        self._network.check_size(*content.shape[1:3])
        self._content: dict[str, Any] = {}
        if preset.content_layers:
            self._content = network(tuple(preset.content_layers))(tf.constant(content))
        self._grams: list[dict[str, Any]] = []
        if preset.style_layers:
            measure = network(tuple(preset.style_layers))
            for style in styles:
                features = measure(tf.constant(style.pixels))
                self._grams.append({n: costs.gram_matrix(f, preset.gram_normaliser) for n, f in features.items()})
        # Weight of each term in J, in the order of `_terms`.
        self._factors = np.array(
            [preset.content_weight * w for w in preset.content_layers.values()]
            + [preset.style_weight * w for w in preset.style_layers.values()]
            + [preset.variation_weight, custom.weight if custom else 0.0],
            np.float32,
        )
        signature = [tf.TensorSpec(self.shape, tf.float32)]
        self._step = tf.function(self._value_and_gradient, input_signature=signature, autograph=False)
        self._value = tf.function(self._terms, input_signature=signature, autograph=False)

    def costs(self, pixels: Pixels) -> Costs:
        """All costs of `pixels` [1, H, W, 3], without a gradient."""
        return self._named(self._value(pixels).numpy())

    def value_and_gradient(self, pixels: Pixels) -> tuple[Costs, NDArray[np.float32]]:
        """All costs of `pixels` [1, H, W, 3], and dJ/dG of the same shape."""
        terms, gradient = self._step(pixels)
        return self._named(terms.numpy()), gradient.numpy()

    def _value_and_gradient(self, pixels: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(pixels)
            terms = self._terms(pixels)
            total = tf.reduce_sum(terms * self._factors)
        return terms, tape.gradient(total, pixels)

    def _terms(self, pixels: Any) -> Any:
        """Content cost and style cost of each layer, total variation and custom cost: one vector."""
        import tensorflow as tf

        preset = self.preset
        features = self._network(pixels)
        terms = [
            costs.content_cost(features[layer], self._content[layer], preset.content_normaliser)
            for layer in preset.content_layers
        ]
        terms += [self._style_cost(layer, features[layer]) for layer in preset.style_layers]
        terms.append(costs.total_variation(pixels, preset.variation))
        custom = self._custom.function(features) if self._custom else 0.0
        terms.append(tf.reshape(tf.cast(custom, tf.float32), ()))
        return tf.stack(terms)

    def _style_cost(self, layer: str, features: Any) -> Any:
        preset = self.preset
        whole = None
        total: Any = 0.0
        for share, mask, grams in zip(self._shares, self._masks, self._grams, strict=True):
            if mask is not None:
                gram = costs.gram_matrix(features, preset.gram_normaliser, _shrink(mask, features.shape))
            else:
                whole = costs.gram_matrix(features, preset.gram_normaliser) if whole is None else whole
                gram = whole
            total += share * costs.style_cost(gram, grams[layer], preset.style_normaliser)
        return total

    def _named(self, terms: NDArray[np.float32]) -> Costs:
        preset = self.preset
        raw = [float(v) for v in terms]
        weighted = [float(f) * v if f else 0.0 for f, v in zip(self._factors, raw, strict=True)]
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


def _shrink(mask: Pixels, shape: Any) -> Any:
    """`mask` averaged down to the positions of a layer."""
    import tensorflow as tf

    return tf.image.resize(tf.constant(mask), (shape[1], shape[2]), method="area")
