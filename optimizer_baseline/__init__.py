"""Neural style transfer the slow, exact way: optimize the pixels against VGG costs (Gatys et al. 2016).

from optimizer_baseline import stylize, score

result = stylize("photo.jpg", "painting.jpg", preset="gatys2016", iterations=300)
result.picture.save("out.png")
score("photo.jpg", "painting.jpg", "out.png", preset="magenta").costs.total_cost
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import BaselineError, Diverged, InvalidImage, InvalidOption, NotBetter, StopRun, WeightsError

if TYPE_CHECKING:
    from .objective.objective import Costs
    from .objective.presets import PRESETS, Preset
    from .objective.program import CustomCost
    from .scoring import Score, score
    from .settings import Settings
    from .transfer import Progress, Result, stylize
    from .tuning.style import TunedStyle, TuneProgress, TuneSettings
    from .tuning.tuner import tune

__all__ = [
    "PRESETS",
    "BaselineError",
    "Costs",
    "CustomCost",
    "Diverged",
    "InvalidImage",
    "InvalidOption",
    "NotBetter",
    "Preset",
    "Progress",
    "Result",
    "Score",
    "Settings",
    "StopRun",
    "TuneProgress",
    "TuneSettings",
    "TunedStyle",
    "WeightsError",
    "score",
    "stylize",
    "tune",
]

# Loaded on first use, so that a bare import does not load numpy and Pillow.
_HOMES = {
    "Costs": "objective.objective",
    "CustomCost": "objective.program",
    "PRESETS": "objective.presets",
    "Preset": "objective.presets",
    "Score": "scoring",
    "score": "scoring",
    "Settings": "settings",
    "Progress": "transfer",
    "Result": "transfer",
    "stylize": "transfer",
    "TuneProgress": "tuning.style",
    "TuneSettings": "tuning.style",
    "TunedStyle": "tuning.style",
    "tune": "tuning.tuner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
