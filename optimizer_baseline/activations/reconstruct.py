"""Reconstructions: pictures with a layer's content or style, found from noise (Gatys et al. 2016, figure 1)."""

from __future__ import annotations

from PIL import Image

from ..objective.presets import Preset
from ..transfer import stylize
from ..vgg import architecture as vgg


def rectified(layer: str) -> str:
    """Return the name of a layer's rectified responses, which the costs use: relu3_1 for conv3_1."""
    return layer.replace("conv", "relu")


def style_layers(layer: str) -> tuple[str, ...]:
    """Return the subsets of figure 1: the first rectifier of each block up to that of `layer`, and nothing deeper."""
    block = int(layer[4])
    return tuple(f"relu{b}_1" for b in range(1, block + 1))


def reconstruct_content(image: Image.Image, layer: str, *, network: str, weights: str, iterations: int) -> Image.Image:
    """Return a picture whose responses in `layer` are those of `image`. Detail that the layer lost stays noise."""
    return _reconstruct(image, {rectified(layer): 1.0}, {}, network, weights, iterations)


def reconstruct_style(image: Image.Image, layer: str, *, network: str, weights: str, iterations: int) -> Image.Image:
    """Return a picture with the Gram matrices of `image` up to `layer`'s block: texture without arrangement."""
    return _reconstruct(image, {}, dict.fromkeys(style_layers(layer), 1.0), network, weights, iterations)


def _reconstruct(
    image: Image.Image,
    content: dict[str, float],
    style: dict[str, float],
    network: str,
    weights: str,
    iterations: int,
) -> Image.Image:
    vgg.check_layers(network, {**content, **style})
    cost = Preset(
        name="reconstruction",
        source="Gatys et al. 2016, figure 1",
        network=network,
        pooling="average",
        content_layers=content,
        style_layers=style,
        content_normalizer="mean",
        gram_normalizer="positions",
        style_normalizer="mean",
        content_weight=1.0,
        style_weight=1.0,
        # A weight just large enough to suppress the checkerboard pattern that pooling does not see.
        variation_weight=1.0,
    )
    return stylize(
        image, image, preset=cost, init="noise", iterations=iterations, size=None, scales=1, weights=weights
    ).picture
