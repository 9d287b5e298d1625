"""Presets: complete named definitions of the cost, from publications and from this project."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..errors import InvalidOption
from ..vgg import architecture as vgg
from . import costs
from .style_losses import STYLE_LOSSES


@dataclass(frozen=True, kw_only=True)
class Published:
    """The fields of `Settings` that the source of a preset fixes for its optimizer.

    Attributes:
        betas: Adam's beta1 and beta2; None for the defaults.
        epsilon: Adam's epsilon, absolute; None for the default.
        note: A remark on points that the source leaves open or does in another way.
    """

    optimizer: str
    iterations: int
    size: int
    init: str
    noise: float = 0.5
    learning_rate: float | None = None
    betas: tuple[float, float] | None = None
    epsilon: float | None = None
    note: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of `Settings`, by name. A source has one scale."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "note"}
        return {**values, "scales": 1}


@dataclass(frozen=True)
class Preset:
    """J(G) = content_weight J_content + style_weight J_style + variation_weight TV(G).

    J_content and J_style are sums over their layers of weight x cost, with the normalizers named here (`costs` has the
    formulas). `replace` returns a copy with any number changed; the copy is validated as the original is.

    Attributes:
        style_loss: What a style layer is compared by: "gram" matrices; "w2", the 2-Wasserstein distance of Gaussians;
            "histogram", the histogram of each channel. Only "gram" uses gram_normalizer and style_normalizer.
        padding: Padding of conv1_1, "zero" or "replicate" (see `vgg.network.Network`).
        normalize_gradients: Scale the gradient of each layer's cost to an L1 norm of 1 before the weights are applied.
        published: The optimizer settings of the source; None if the source runs no optimizer.
    """

    name: str
    source: str
    network: str
    pooling: str
    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    content_normalizer: str
    gram_normalizer: str
    style_normalizer: str
    content_weight: float
    style_weight: float
    variation_weight: float = 0.0
    variation: str = "squared-mean"
    padding: str = "zero"
    style_loss: str = "gram"
    normalize_gradients: bool = False
    published: Published | None = None

    def __post_init__(self) -> None:
        for field in ("content_layers", "style_layers"):
            table = dict(getattr(self, field))
            vgg.check_layers(self.network, table)
            for layer, weight in table.items():
                _check_weight(f"{field}[{layer}]", weight)
            object.__setattr__(self, field, MappingProxyType(table))
        if not self.content_layers and not self.style_layers:
            raise InvalidOption("content_layers and style_layers are both empty; at least one layer is needed")
        for field in ("content_weight", "style_weight", "variation_weight"):
            _check_weight(field, getattr(self, field))
        for field, known in (
            ("pooling", vgg.POOLINGS),
            ("padding", vgg.PADDINGS),
            ("content_normalizer", costs.CONTENT_NORMALIZERS),
            ("gram_normalizer", costs.GRAM_NORMALIZERS),
            ("style_normalizer", costs.STYLE_NORMALIZERS),
            ("style_loss", STYLE_LOSSES),
            ("variation", costs.TOTAL_VARIATIONS),
        ):
            if getattr(self, field) not in known:
                raise InvalidOption(f"unknown {field} {getattr(self, field)!r}; known: {', '.join(known)}")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the costs use, shallow to deep."""
        return vgg.check_layers(self.network, {**self.content_layers, **self.style_layers})

    @property
    def key(self) -> tuple[object, ...]:
        """All values that decide the cost, as a hashable key."""
        fields = {field.name for field in dataclasses.fields(self)} - {"name", "source", "published"}
        values = (getattr(self, name) for name in sorted(fields))
        return tuple(tuple(v.items()) if isinstance(v, Mapping) else v for v in values)

    @property
    def definition(self) -> dict[str, Any]:
        """The definition without name, source and network, ready for JSON."""
        fields = {field.name for field in dataclasses.fields(self)} - {"name", "source", "network", "published"}
        values = {name: getattr(self, name) for name in sorted(fields)}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}

    def replace(self, **changes: object) -> Preset:
        """Return a copy with some fields changed, e.g. `preset.replace(network="vgg16", style_weight=1e3)`.

        The name becomes `… (changed)` if more than the network changes and no name is given.

        Raises:
            InvalidOption: A field is unknown, or a value is not valid.
        """
        if unknown := changes.keys() - {field.name for field in dataclasses.fields(self)}:
            raise InvalidOption(f"a preset has no field {sorted(unknown)[0]!r}")
        try:
            changed = dataclasses.replace(self, **changes)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise InvalidOption(
                f"a preset's weights are numbers and its layers a mapping of names to them: {error}"
            ) from None
        if "name" in changes or changed.definition == self.definition or self.name.endswith(_CHANGED):
            return changed
        return dataclasses.replace(changed, name=f"{self.name}{_CHANGED}")


_CHANGED = " (changed)"


def _check_weight(what: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise InvalidOption(f"{what} is {value}; a weight is a finite number of at least 0")


def _each(weight: float, *names: str) -> dict[str, float]:
    return dict.fromkeys(names, weight)


_FIRST_OF_EACH_BLOCK = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_LAST_OF_FOUR_BLOCKS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")

_GATYS2016 = Preset(
    name="gatys2016",
    source="Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks, CVPR 2016, "
    "equations 1 to 7 and section 3 (content conv4_2, style conv1_1 … conv5_1 at 1/5, alpha/beta = 1e-3). "
    "Their responses are rectified (equation 2 is 0 for F < 0). Their network is the norm-rescaled VGG-19: "
    "give rescaled weights, or --rescale. On plain weights the same numbers are larger costs, style's by "
    "far more than content's: on rescaled ones a picture as far from its content needs more style_weight",
    network="vgg19",
    pooling="average",
    content_layers=_each(1.0, "relu4_2"),
    style_layers=_each(0.2, *_FIRST_OF_EACH_BLOCK),
    content_normalizer="half",
    gram_normalizer="positions",
    style_normalizer="quarter-mean",
    content_weight=1e-3,
    style_weight=1.0,
    published=Published(
        optimizer="lbfgs",
        iterations=500,
        size=512,
        init="noise",
        note="the paper starts from white noise at about 512 px and gives no number of iterations; 500 is "
        "that of the authors' later notebook",
    ),
)

_STYLEWIRE = _GATYS2016.replace(
    name="stylewire",
    source="this project's own, the default of `stylize`: gatys2016 with total variation against speckle "
    "in flat areas, and replicate padding against noise along the borders",
    variation_weight=1e7,
    padding="replicate",
    published=None,
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _STYLEWIRE,
            _STYLEWIRE.replace(
                name="w2",
                source="this project's own: stylewire, with mean and covariance of the responses in place of the Gram "
                "matrix, as crowsonkb/style-transfer-pytorch; fewer colored spots, a third more time for a step",
                style_loss="w2",
                style_weight=3e3,
            ),
            _STYLEWIRE.replace(
                name="histogram",
                source="this project's own: stylewire, with the histogram of each channel in place of the Gram matrix "
                "(the histogram loss of Risser et al. 2017); it takes palette and contrast more than strokes",
                style_loss="histogram",
                style_weight=1e4,
            ),
            _GATYS2016,
            Preset(
                name="coursera",
                source="deeplearning.ai, Convolutional Neural Networks, week 4, Art Generation with Neural Style "
                "Transfer (first edition): content 1/(4 nH nW nC) at conv4_2, style 1/(4 nC^2 (nH nW)^2) at "
                "conv1_1 … conv5_1 with 0.2 each, alpha 10, beta 40; rectified responses, average pooling",
                network="vgg19",
                pooling="average",
                content_layers=_each(1.0, "relu4_2"),
                style_layers=_each(0.2, *_FIRST_OF_EACH_BLOCK),
                content_normalizer="quarter-mean",
                gram_normalizer="positions",
                style_normalizer="quarter-mean",
                content_weight=10.0,
                style_weight=40.0,
                published=Published(
                    optimizer="adam",
                    iterations=200,
                    size=400,
                    init="content+noise",
                    noise=0.6,
                    learning_rate=2.0 / 255.0,
                    betas=(0.9, 0.999),
                    note="a picture of 400x300 px; the source draws its noise from -20..20 around the mean color of "
                    "0..255, this tool from 0..1",
                ),
            ),
            Preset(
                name="johnson2016",
                source="Johnson, Alahi, Fei-Fei: Perceptual Losses for Real-Time Style Transfer, ECCV 2016, with the "
                "defaults of their slow_neural_style.lua: content relu3_3 at 1 (the paper's text has relu2_2), style "
                "relu1_2, relu2_2, relu3_3, relu4_3 at 5, Gram matrix over nC nH nW, mean squared errors, total "
                "variation 1e-6 on 0..255 pixels",
                network="vgg16",
                pooling="max",
                content_layers=_each(1.0, "relu3_3"),
                style_layers=_each(1.0, *_LAST_OF_FOUR_BLOCKS),
                content_normalizer="mean",
                gram_normalizer="elements",
                style_normalizer="mean",
                content_weight=1.0,
                style_weight=5.0,
                variation_weight=1e-6,
                variation="squared-255",
                published=Published(
                    optimizer="lbfgs",
                    iterations=500,
                    size=512,
                    init="noise",
                    note="the defaults of slow_neural_style.lua; its noise is normal, this tool's uniform",
                ),
            ),
            Preset(
                name="magenta",
                source="magenta/models/arbitrary_image_stylization: the flag defaults of its train.py (content conv3 "
                "at 1, style conv1 … conv4 at 0.5e-3 each, total variation 1e4) with its losses.py and "
                "image_stylization/learning.py; VGG-16 with average pooling, layers after a block's last rectifier. "
                "The cost that the feed-forward network was trained on (Ghiasi et al. 2017)",
                network="vgg16",
                pooling="average",
                content_layers=_each(1.0, "relu3_3"),
                style_layers=_each(0.5e-3, *_LAST_OF_FOUR_BLOCKS),
                content_normalizer="mean",
                gram_normalizer="positions",
                style_normalizer="mean",
                content_weight=1.0,
                style_weight=1.0,
                variation_weight=1e4,
                variation="squared-mean",
            ),
            Preset(
                name="tf-tutorial",
                source="tensorflow.org, tutorials/generative/style_transfer: Keras VGG-19, content block5_conv2, style "
                "block1_conv1 … block5_conv1, content weight 1e4, style weight 1e-2 over five layers, total variation "
                "30",
                network="vgg19",
                pooling="max",
                content_layers=_each(1.0, "relu5_2"),
                style_layers=_each(0.2, *_FIRST_OF_EACH_BLOCK),
                content_normalizer="mean",
                gram_normalizer="positions",
                style_normalizer="mean",
                content_weight=1e4,
                style_weight=1e-2,
                variation_weight=30.0,
                variation="absolute",
                published=Published(
                    optimizer="adam",
                    iterations=1000,
                    size=512,
                    init="content",
                    learning_rate=0.02,
                    betas=(0.99, 0.999),
                    epsilon=0.1,
                    note="10 epochs of 100 steps",
                ),
            ),
        )
    }
)


def preset(name: str) -> Preset:
    """Return the preset called `name`, or raise InvalidOption with the known names."""
    if name not in PRESETS:
        raise InvalidOption(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
