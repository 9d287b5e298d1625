"""The settings of a run, validated when constructed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .color import TRANSFERS as COLOR_TRANSFERS
from .errors import InvalidOption
from .objective import presets
from .objective.presets import Preset
from .objective.tiles import SMALLEST_TILE, check_tiles
from .optimize import OPTIMIZERS
from .vgg import precision
from .vgg.weights import Weights

INITS = ("content", "style", "noise", "content+noise", "feedforward")
DEFAULT_PRESET = "stylewire"
SCALE_STEP = math.sqrt(2.0)
"""Ratio of neighboring scales, as in crowsonkb/style-transfer-pytorch."""

SMALLEST_SCALE = 64
"""Minimum shorter side in pixels of a coarse scale. Smaller scales are left out."""

_MAY_BE_NONE = frozenset({"size", "style_size", "coarse_iterations", "evaluations", "tile"})


def published(preset: str | Preset) -> dict[str, Any]:
    """Return the settings that the source of `preset` uses, by field.

    Raises:
        InvalidOption: The source runs no optimizer.
    """
    cost = presets.preset(preset) if isinstance(preset, str) else preset
    if cost.published is None:
        known = ", ".join(name for name, one in presets.PRESETS.items() if one.published)
        raise InvalidOption(f"the source of preset {cost.name} runs no optimizer; those of {known} do")
    return cost.published.settings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `stylize`.

    Attributes:
        preset: The cost, by name or as a `Preset`.
        weights: The source of the VGG weights (see `weights.load`), or the weights themselves.
        rescale: Pictures to rescale the network on, as Gatys et al. did (see `vgg.rescale`); empty for no rescaling.
        precision: Precision of the convolutions: "auto", "f32" or "bf16".
        size: Longer side of the result in pixels; None keeps the content's own size.
        style_size: Longer side of each style picture; None is `size`, or the content's longer side.
        optimizer: "lbfgs", "adam" or "gradient-descent".
        iterations: Iterations at the finest scale.
        coarse_iterations: Iterations at each coarser scale; None is `iterations`.
        evaluations: Maximum evaluations of cost and gradient over all scales; None is no limit.
        learning_rate, betas, epsilon: Parameters of the optimizer, as in `optimize.minimize`.
        init: "content", "style", "noise", "content+noise", "feedforward", or anything `images.load` takes.
        noise: Share of noise in "content+noise", 0..1.
        seed: Seed of the noise.
        scales: Number of sizes, coarse to fine, each sqrt(2) times the one before.
        preserve_color: Keep the content's colors (luminance-only transfer in YIQ, Gatys et al. 2017).
        color_transfer: Give the style pictures the content's colors before they are used: "mean-covariance" or
            "histogram" (Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"); None leaves them.
        tile: Side in pixels of the tiles in which larger pictures are computed; None computes every picture at once.
            The result is the same, up to rounding. Tiles take less memory and more time.
        any_size: Start even if the run needs more memory than the machine has available.
    """

    preset: str | Preset = DEFAULT_PRESET
    weights: str | Path | Weights = "auto"
    rescale: Sequence[Any] = ()
    precision: str = "auto"
    size: int | None = 512
    style_size: int | None = None
    optimizer: str = "lbfgs"
    iterations: int = 200
    coarse_iterations: int | None = None
    evaluations: int | None = None
    learning_rate: float | None = None
    betas: tuple[float, float] | None = None
    epsilon: float | None = None
    init: Any = "content"
    noise: float = 0.5
    seed: int = 0
    scales: int = 3
    preserve_color: bool = False
    color_transfer: str | None = None
    tile: int | None = None
    any_size: bool = False
    cost: Preset = field(init=False)

    def __post_init__(self) -> None:
        cost = presets.preset(self.preset) if isinstance(self.preset, str) else self.preset
        if not isinstance(cost, Preset):
            raise InvalidOption(f"preset is {self.preset!r}; it is a name or a Preset")
        if isinstance(self.rescale, (str, bytes, Path)):
            raise InvalidOption(f"rescale is {self.rescale!r}; it is a list of pictures")
        object.__setattr__(self, "cost", cost)
        self._check_numbers()
        self._check_optimizer()
        if self.tile is not None:
            check_tiles(cost)
        if self.color_transfer not in (None, *COLOR_TRANSFERS):
            raise InvalidOption(f"unknown color transfer {self.color_transfer!r}; known: {', '.join(COLOR_TRANSFERS)}")
        if self.color_transfer and self.preserve_color:
            raise InvalidOption("color transfer and preserve color are two ways to keep colors; choose one")
        if self.precision not in precision.PRECISIONS:
            raise InvalidOption(f"unknown precision {self.precision!r}; known: {', '.join(precision.PRECISIONS)}")

    @classmethod
    def of(cls, as_published: bool = False, **options: Any) -> Settings:
        """Return the settings with these fields.

        Args:
            as_published: Take missing fields from the preset's source: start, optimizer, iterations, size, scales.

        Raises:
            InvalidOption: A field is unknown or out of range, or the source of the preset runs no optimizer.
        """
        try:
            if as_published:
                options = {**published(options.get("preset", DEFAULT_PRESET)), **options}
            return cls(**options)
        except TypeError as error:
            raise InvalidOption(str(error).replace("Settings.__init__() ", "")) from None

    def _check_numbers(self) -> None:
        for name, least, unit in (
            ("size", 16, "px"),
            ("style_size", 16, "px"),
            ("iterations", 1, "iterations"),
            ("coarse_iterations", 1, "iterations"),
            ("evaluations", 1, "evaluations"),
            ("scales", 1, "scales"),
            ("seed", 0, ""),
            ("tile", SMALLEST_TILE, "px"),
        ):
            value = getattr(self, name)
            if value is None and name in _MAY_BE_NONE:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise InvalidOption(f"{name.replace('_', ' ')} is {value!r}; it is a whole number")
            if value < least:
                raise InvalidOption(f"{name.replace('_', ' ')} is {value}; the minimum is {least} {unit}".rstrip())
        if not 0.0 <= self.noise <= 1.0:
            raise InvalidOption(f"noise is {self.noise}; it is a share of 0..1")

    def _check_optimizer(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise InvalidOption(f"unknown optimizer {self.optimizer!r}; known: {', '.join(OPTIMIZERS)}")
        if self.cost.normalize_gradients and self.optimizer != "adam":
            raise InvalidOption(f"normalized gradients are for adam; {self.optimizer} needs those of the cost itself")
        if self.learning_rate is not None:
            if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
                raise InvalidOption(f"learning rate is {self.learning_rate}; it is a finite number above 0")
            if self.optimizer == "lbfgs":
                raise InvalidOption("lbfgs finds its own step; a learning rate is for adam and gradient-descent")
        for name in ("betas", "epsilon"):
            if getattr(self, name) is not None and self.optimizer != "adam":
                raise InvalidOption(f"{name} is for adam; the optimizer is {self.optimizer}")
        if self.betas is not None and not (len(self.betas) == 2 and all(0.0 <= beta < 1.0 for beta in self.betas)):
            raise InvalidOption(f"betas are {self.betas}; they are two numbers of at least 0 and under 1")
        if self.epsilon is not None and not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise InvalidOption(f"epsilon is {self.epsilon}; it is a finite number above 0")

    def sizes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Return (width, height) of every scale, coarse to fine, without those under 64 px on the shorter side."""
        factors = [SCALE_STEP**-k for k in reversed(range(self.scales))]
        sizes = [(max(1, round(width * f)), max(1, round(height * f))) for f in factors]
        return [s for s in sizes[:-1] if min(s) >= SMALLEST_SCALE] + sizes[-1:]
