"""The compiled cost of one preset. It takes pictures and targets, and returns terms and gradient.

Compiling takes seconds, and memory that TensorFlow does not return completely. So programs are cached: each takes
pictures of every size and every target.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from stylewire_server.engine.memory import trim

from ..errors import InvalidOption
from ..vgg.architecture import channels
from ..vgg.network import Network
from ..vgg.weights import Weights
from . import costs
from .presets import Preset
from .style_losses import STYLE_LOSSES

PROGRAMS_KEPT = 4
"""Number of cached programs. A comparison uses three: two presets in float32 and one in bfloat16."""

_kept: OrderedDict[tuple[Any, ...], Program] = OrderedDict()


@dataclass(frozen=True)
class CustomCost:
    """A cost of the caller: `function` takes {layer: features [1, H, W, C]} of G and returns a scalar tensor.

    It is compiled once for all sizes, so take H and W from `tf.shape(features)`, not from `features.shape`.
    """

    layers: Sequence[str]
    function: Callable[[Mapping[str, Any]], Any]
    weight: float = 1.0


class Targets(NamedTuple):
    """The targets that G is compared with: the content's features by layer, and for each style its statistics by layer
    (Gram matrices, or what the preset's style loss takes), its weight, and its mask [1, H, W, 1] (empty for a style
    without one)."""

    content: dict[str, Any]
    styles: list[dict[str, Any]]
    shares: list[Any]
    masks: list[Any]


def program(
    weights: Weights, preset: Preset, *, bfloat16: bool, masked: tuple[bool, ...], custom: CustomCost | None = None
) -> Program:
    """Return the compiled cost for these options, from the cache if possible. Custom costs are not cached."""
    if custom is not None:
        return Program(weights, preset, bfloat16=bfloat16, masked=masked, custom=custom)
    key = (weights.digest, preset.key, bfloat16, masked)
    if key not in _kept:
        while len(_kept) >= PROGRAMS_KEPT:
            _kept.popitem(last=False)
            # Compiled functions are in reference cycles. Free them before the next one is made.
            gc.collect()
        _kept[key] = Program(weights, preset, bfloat16=bfloat16, masked=masked)
    _kept.move_to_end(key)
    return _kept[key]


class Program:
    """The compiled functions of one preset. `masked` says which styles have a mask."""

    def __init__(
        self,
        weights: Weights,
        preset: Preset,
        *,
        bfloat16: bool,
        masked: tuple[bool, ...],
        custom: CustomCost | None = None,
    ) -> None:
        import tensorflow as tf

        loss = STYLE_LOSSES[preset.style_loss]
        self.preset, self._loss = preset, loss
        self._masked = masked
        self._custom = custom
        self.network = Network(
            weights,
            (*preset.layers, *(custom.layers if custom else ())),
            pooling=preset.pooling,
            padding=preset.padding,
            bfloat16=bfloat16,
        )
        # The copies of the kernels that are freed by now would add to the peak: 60 MB for VGG-19.
        trim()
        self.factors = factors(preset, custom)
        pictures = tf.TensorSpec((1, None, None, 3), tf.float32)
        targets = Targets(
            {name: tf.TensorSpec((1, None, None, channels(name)), tf.float32) for name in preset.content_layers},
            [{n: tf.TensorSpec(loss.shape(channels(n)), tf.float32) for n in preset.style_layers} for _ in masked],
            [tf.TensorSpec((), tf.float32) for _ in masked],
            [tf.TensorSpec((1, None, None, 1), tf.float32) for _ in masked],
        )
        self._takes = [pictures, targets]

    # Targets come from compiled functions, like the steps. A graph frees every layer after its last use, and in
    # bfloat16 it rounds at the same points as the steps.

    @cached_property
    def content(self) -> Callable[[Any], dict[str, Any]]:
        """Return the features of a content picture [1, H, W, 3], by layer, float32."""
        return self._compile(self._content, self._takes[:1])

    @cached_property
    def style(self) -> Callable[[Any], dict[str, Any]]:
        """Return the statistics of a style picture [1, H, W, 3], by layer, float32: the Gram matrices for most."""
        return self._compile(self._style, self._takes[:1])

    @cached_property
    def value(self) -> Callable[[Any, Targets], Any]:
        """Return the terms of a picture [1, H, W, 3] as one vector."""
        return self._compile(self._value, self._takes)

    @cached_property
    def step(self) -> Callable[[Any, Targets], tuple[Any, Any]]:
        """Return the terms of a picture, and dJ/dG."""
        return self._compile(self._value_and_gradient, self._takes)

    def _compile(self, function: Callable[..., Any], takes: list[Any]) -> Any:
        import tensorflow as tf

        compiled = tf.function(function, input_signature=takes, autograph=False).get_concrete_function()
        return lambda pixels, *targets: compiled(tf.constant(pixels), *targets)

    def _content(self, pixels: Any) -> dict[str, Any]:
        import tensorflow as tf

        features = self.network(pixels)
        return {layer: tf.cast(features[layer], tf.float32) for layer in self.preset.content_layers}

    def _style(self, pixels: Any) -> dict[str, Any]:
        features, loss = self.network(pixels), self._loss
        return {
            layer: loss.target(loss.statistics(features[layer], None, self.preset.gram_normalizer))
            for layer in self.preset.style_layers
        }

    def _value(self, pixels: Any, targets: Targets) -> Any:
        import tensorflow as tf

        return tf.stack(self._terms(pixels, targets))

    def _value_and_gradient(self, pixels: Any, targets: Targets) -> tuple[Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(pixels)
            terms = self._terms(pixels, targets)
            # A term of weight 0 is reported, but not differentiated.
            weighted = [factor * term for factor, term in zip(self.factors, terms, strict=True) if factor]
            total = sum(weighted, tf.constant(0.0))
        return tf.stack(terms), tape.gradient(total, pixels, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _terms(self, pixels: Any, targets: Targets) -> list[Any]:
        """Return content cost and style cost of each layer, total variation and custom cost, as scalars."""
        import tensorflow as tf

        preset = self.preset
        features = self.network(pixels)

        def seen(layer: str, weight: float) -> Any:
            x = features[layer]
            return costs.with_normalized_gradient(x, weight) if preset.normalize_gradients else x

        terms = [
            costs.content_cost(
                seen(layer, preset.content_weight * weight), targets.content[layer], preset.content_normalizer
            )
            for layer, weight in preset.content_layers.items()
        ]
        terms += [
            self._style_cost(layer, seen(layer, preset.style_weight * weight), targets)
            for layer, weight in preset.style_layers.items()
        ]
        terms.append(costs.total_variation(pixels, preset.variation))
        custom = 0.0
        if self._custom:
            custom = tf.convert_to_tensor(
                self._custom.function({name: tf.cast(x, tf.float32) for name, x in features.items()})
            )
            if custom.shape.num_elements() not in (1, None):
                raise InvalidOption(f"the custom cost has shape {tuple(custom.shape)}; it is one number")
        terms.append(tf.reshape(tf.cast(custom, tf.float32), ()))
        return terms

    def _style_cost(self, layer: str, features: Any, targets: Targets) -> Any:
        import tensorflow as tf

        loss, preset = self._loss, self.preset
        whole = None
        total: Any = 0.0
        for masked, share, mask, style in zip(self._masked, targets.shares, targets.masks, targets.styles, strict=True):
            if masked:
                # Average the mask over the positions of the layer.
                small = tf.image.resize(mask, tf.shape(features)[1:3], method="area")
                statistics = loss.statistics(features, small, preset.gram_normalizer)
            else:
                statistics = whole = loss.statistics(features, None, preset.gram_normalizer) if whole is None else whole
            total += share * loss.cost(statistics, style[layer], preset.style_normalizer)
        return total


def factors(preset: Preset, custom: CustomCost | None = None) -> tuple[float, ...]:
    """Return the weight of each term in J: content layers, style layers, total variation, custom cost."""
    return (
        *(preset.content_weight * w for w in preset.content_layers.values()),
        *(preset.style_weight * w for w in preset.style_layers.values()),
        preset.variation_weight,
        custom.weight if custom else 0.0,
    )
