"""`score`: all costs of any picture under any preset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import images
from .errors import InvalidImage
from .images import Picture
from .objective import presets
from .objective.objective import Costs, Objective, Style
from .objective.presets import Preset
from .vgg.precision import resolve
from .vgg.rescale import load_rescaled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """Costs of one picture, and under which definition they were measured: `Preset.definition`.

    `size` is the longer side in pixels.
    """

    preset: str
    definition: Mapping[str, Any]
    network: str
    size: int
    width: int
    height: int
    weights: str
    precision: str
    costs: Costs

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready. The costs at the top are unweighted but for total_cost, which is J(G), all weights applied."""
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
    preset: str | Preset = "gatys2016",
    network: str | None = None,
    size: int = 256,
    weights: str = "auto",
    rescale: Sequence[Picture] = (),
    precision: str = "f32",
) -> Any:
    """Costs of `picture` as a stylisation of `content` by `style`.

    All three are brought to a longer side of `size` pixels. A content of another shape than the picture is cropped to
    its centre, as a server does that fits the content to a square.

    Args:
        picture: one picture, or a list of pictures of one size, for which targets are computed only once.
        network: "vgg16" or "vgg19" in place of the preset's own.
        weights, rescale, precision: as in `Settings`; float32 unless asked otherwise, because scores get compared.

    Returns:
        A `Score`, or a list of them for a list of pictures.

    Raises:
        BaselineError: InvalidImage, InvalidOption or WeightsError.
    """
    cost = presets.preset(preset) if isinstance(preset, str) else preset
    if network is not None:
        cost = cost.replace(network=network)
    loaded = [images.fit(images.load(p, "picture"), size) for p in images.as_list(picture)]
    width, height = loaded[0].size
    for other in loaded[1:]:
        if other.size != (width, height):
            raise InvalidImage(
                f"pictures come to {width}x{height} and {other.width}x{other.height} px; those of a list have one shape"
            )
    original = images.load(content, "content")
    style_image = images.fit(images.load(style, "style"), size)
    cropped = images.crop_to_shape(original, width, height)
    # Rounding to whole pixels at another size is not a different shape.
    if abs(cropped.width - original.width) > 0.01 * original.width + 1 or (
        abs(cropped.height - original.height) > 0.01 * original.height + 1
    ):
        log.warning(
            "content is %dx%d px, picture %dx%d px: comparing with the centre of the content",
            original.width, original.height, width, height,
        )  # fmt: skip
    number_format = resolve(precision)
    loaded_weights = load_rescaled(cost.network, weights, rescale, cost.pooling)
    objective = Objective(
        images.to_pixels(images.resize(cropped, width, height)),
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
            width,
            height,
            loaded_weights.source,
            number_format,
            objective.costs(images.to_pixels(p)),
        )
        for p in loaded
    ]
    return scores if isinstance(picture, (list, tuple)) else scores[0]
