"""`score`: compute all costs of any picture under any preset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import images
from .errors import InvalidImage
from .images import Picture, Pixels
from .objective import presets
from .objective.objective import Costs, Objective, Style
from .objective.presets import Preset
from .vgg.precision import resolve
from .vgg.rescale import load_rescaled
from .vgg.weights import Weights

log = logging.getLogger(__name__)

DEFAULT_PRESET = "gatys2016"
"""The preset of `score`: a published definition, so that scores can be compared with those of others."""


@dataclass(frozen=True)
class Score:
    """The costs of one picture, and the definition under which they were measured.

    Attributes:
        definition: `Preset.definition`.
        size: Longer side in pixels.
        style_size: Longer side of the style picture in pixels.
    """

    preset: str
    definition: Mapping[str, Any]
    network: str
    size: int
    style_size: int
    width: int
    height: int
    weights: str
    precision: str
    costs: Costs

    def as_dict(self) -> dict[str, Any]:
        """Return all values, ready for JSON. At the top level, only total_cost has the preset's weights applied."""
        costs = self.costs
        unweighted = {
            "content_cost": costs.content_cost,
            "style_cost": costs.style_cost,
            "style_cost_by_layer": dict(costs.style_cost_by_layer),
            "total_variation": costs.total_variation,
        }
        return {
            "preset": self.preset,
            "definition": dict(self.definition),
            "network": self.network,
            "size": self.size,
            "style_size": self.style_size,
            "width": self.width,
            "height": self.height,
            "weights": self.weights,
            "precision": self.precision,
            **unweighted,
            "total_cost": costs.total_cost,
            "unweighted": unweighted,
            "weighted": {
                "content_cost": costs.weighted_content_cost,
                "style_cost": costs.weighted_style_cost,
                "style_cost_by_layer": dict(costs.weighted_style_cost_by_layer),
                "total_variation": costs.weighted_total_variation,
                "total_cost": costs.total_cost,
            },
        }


def score(
    content: Picture,
    style: Picture,
    picture: Picture | Sequence[Picture],
    *,
    preset: str | Preset = DEFAULT_PRESET,
    network: str | None = None,
    size: int = 256,
    style_size: int | None = None,
    weights: str | Path | Weights = "auto",
    rescale: Sequence[Picture] = (),
    precision: str = "f32",
) -> Any:
    """Return the costs of `picture` as a stylization of `content` by `style`.

    Content and picture are resized to a longer side of `size` pixels. A content with another aspect ratio than the
    picture is cropped to its center, as a server does when it crops the content to a square.

    Args:
        picture: One picture, or a list of pictures of one size. Targets are computed once for a list.
        network: "vgg16" or "vgg19"; None for the preset's own.
        style_size: Longer side of the style picture in pixels; None for `size`. Costs compare strokes of this scale.
        weights, rescale, precision: As in `Settings`. The default is float32, because scores are compared.

    Returns:
        A `Score`, or a list of them for a list of pictures.

    Raises:
        BaselineError: InvalidImage, InvalidOption or WeightsError.
    """
    style_size = size if style_size is None else style_size
    cost = presets.preset(preset) if isinstance(preset, str) else preset
    if network is not None:
        cost = cost.replace(network=network)
    pictures = images.as_list(picture)
    read = [images.load(p, "picture") for p in pictures]
    own_width, own_height = read[0].size
    loaded = [_pixels(p, image, size) for p, image in zip(pictures, read, strict=True)]
    height, width = loaded[0].shape[1:3]
    for other in loaded[1:]:
        if other.shape != loaded[0].shape:
            raise InvalidImage(
                f"pictures come to {width}x{height} and {other.shape[2]}x{other.shape[1]} px; "
                "those of a list have one shape"
            )
    original = images.load(content, "content")
    style_image = images.fit(images.load(style, "style"), style_size)
    # A picture's sides are whole pixels, so a picture of the content's shape may be up to a pixel off.
    scale = original.width / own_width, original.height / own_height
    if abs(scale[0] / scale[1] - 1.0) * min(own_width, own_height) > 1.0:
        log.warning(
            "content is %dx%d px, picture %dx%d px: comparing with the center of the content",
            original.width, original.height, width, height,
        )  # fmt: skip
        original = images.crop_to_shape(original, width, height)
    number_format = resolve(precision)
    loaded_weights = load_rescaled(cost.network, weights, rescale, cost.pooling)
    objective = Objective(
        images.to_pixels(images.resize(original, width, height)),
        [Style(images.to_pixels(style_image))],
        cost,
        loaded_weights,
        bfloat16=number_format == "bf16",
    )
    scores = [
        Score(
            cost.name,
            cost.definition,
            cost.network,
            size,
            style_size,
            width,
            height,
            loaded_weights.source,
            number_format,
            objective.costs(p),
        )
        for p in loaded
    ]
    return scores if isinstance(picture, (list, tuple)) else scores[0]


def _pixels(picture: Picture, image: Image.Image, size: int) -> Pixels:
    """Return `image`, which was read from `picture`, with a longer side of `size` pixels.

    An array of floats of this size is not rounded to 8 bits, so a result has the costs that its run reported.
    """
    fitted = images.fit(image, size)
    if isinstance(picture, np.ndarray) and picture.dtype != np.uint8 and fitted.size == image.size:
        return picture.reshape(1, image.height, image.width, 3).astype(np.float32)
    return images.to_pixels(fitted)
