"""Every choice of a run, once, validated when constructed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InvalidOption
from .objective import presets
from .objective.presets import Preset
from .optimize import OPTIMIZERS
from .vgg import precision
from .vgg.weights import Weights

INITS = ("content", "style", "noise", "content+noise", "feedforward")
DEFAULT_PRESET = "gatys2016"
# Ratio of neighbouring scales, as in crowsonkb/style-transfer-pytorch.
SCALE_STEP = math.sqrt(2.0)
SMALLEST_SCALE = 64
_MAY_BE_NONE = frozenset({"size", "style_size", "coarse_iterations", "evaluations"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `stylize` does beyond its pictures.

    preset: the cost, by name or as a `Preset`.
    weights: where VGG weights come from (see `weights.load`).
    rescale: pictures over which to rescale the network as Gatys et al. did (see `weights.rescale`); none: as published.
    precision: "auto", "f32" or "bf16", of the convolutions.
    size: longer side of the result in pixels; None keeps the content's own size.
    style_size: longer side of each style picture; None is `size`, or the content's longer side.
    optimizer: "lbfgs", "adam" or "gradient-descent".
    iterations: at the finest scale.
    coarse_iterations: at each coarser scale; None is `iterations`.
    evaluations: at most so many evaluations of cost and gradient in all; None is no limit.
    learning_rate: see `optimize.minimize`.
    init: "content", "style", "noise", "content+noise", "feedforward", or anything `images.load` takes.
    noise: share of noise in "content+noise", 0..1.
    seed: of the noise.
    scales: number of sizes, coarse to fine, each sqrt(2) times the one before.
    preserve_color: keep the content's colours (luminance-only transfer in YIQ, Gatys et al. 2017).
    """

    preset: str | Preset = DEFAULT_PRESET
    weights: str | Path | Weights = "auto"
    rescale: Sequence[Any] = ()
    precision: str = "auto"
    size: int | None = 512
    style_size: int | None = None
    optimizer: str = "lbfgs"
    iterations: int = 300
    coarse_iterations: int | None = None
    evaluations: int | None = None
    learning_rate: float | None = None
    init: Any = "content"
    noise: float = 0.5
    seed: int = 0
    scales: int = 1
    preserve_color: bool = False
    cost: Preset = field(init=False)

    def __post_init__(self) -> None:
        cost = presets.preset(self.preset) if isinstance(self.preset, str) else self.preset
        if not isinstance(cost, Preset):
            raise InvalidOption(f"preset is {self.preset!r}; it is a name or a Preset")
        if isinstance(self.rescale, (str, bytes, Path)):
            raise InvalidOption(f"rescale is {self.rescale!r}; it is a list of pictures")
        object.__setattr__(self, "cost", cost)
        for name, least, unit in (
            ("size", 16, "px"),
            ("style_size", 16, "px"),
            ("iterations", 1, "iterations"),
            ("coarse_iterations", 1, "iterations"),
            ("evaluations", 1, "evaluations"),
            ("scales", 1, "scales"),
            ("seed", 0, ""),
        ):
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise InvalidOption(f"{name.replace('_', ' ')} is {value!r}; it is a whole number")
            if value < least:
                raise InvalidOption(f"{name.replace('_', ' ')} is {value}; the least is {least} {unit}".rstrip())
        if not 0.0 <= self.noise <= 1.0:
            raise InvalidOption(f"noise is {self.noise}; it is a share of 0..1")
        if self.learning_rate is not None:
            if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
                raise InvalidOption(f"learning rate is {self.learning_rate}; it is a finite number above 0")
            if self.optimizer == "lbfgs":
                raise InvalidOption("lbfgs finds its own step; a learning rate is for adam and gradient-descent")
        if self.optimizer not in OPTIMIZERS:
            raise InvalidOption(f"unknown optimizer {self.optimizer!r}; known: {', '.join(OPTIMIZERS)}")
        if self.precision not in precision.PRECISIONS:
            raise InvalidOption(f"unknown precision {self.precision!r}; known: {', '.join(precision.PRECISIONS)}")

    def sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """(width, height) of every scale, coarse to fine; scales under 64 px on the shorter side are left out."""
        factors = [SCALE_STEP**-k for k in reversed(range(self.scales))]
        sizes = [(max(1, round(width * f)), max(1, round(height * f))) for f in factors]
        return [s for s in sizes[:-1] if min(s) >= SMALLEST_SCALE] + sizes[-1:]
