"""Exit codes, and options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidOption
from ..objective import presets
from ..settings import DEFAULT_PRESET
from ..vgg import architecture
from ..vgg.precision import PRECISIONS

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


def add_cost_options(command: argparse.ArgumentParser, precision: str = "auto", preset: str = DEFAULT_PRESET) -> None:
    """Add the options of the cost to `command`. An option that is not given has no value; help names its default."""
    group = command.add_argument_group("cost")
    group.add_argument("--preset", choices=tuple(presets.PRESETS), help=f"definition of the costs ({preset})")
    group.add_argument("--network", choices=tuple(architecture.NETWORKS), help="network that measures (the preset's)")
    group.add_argument("--pooling", choices=architecture.POOLINGS, help="pooling of the network (the preset's)")
    group.add_argument("--padding", choices=architecture.PADDINGS, help="padding of conv1_1 (the preset's)")
    group.add_argument(
        "--content-layers", metavar="NAME[=W],…", help="layers of the content cost, e.g. relu3_3=0.5,relu4_2=1"
    )
    group.add_argument(
        "--style-layers", metavar="NAME[=W],…", help="layers of the style cost, e.g. relu1_1=0.5,relu2_1=0.5"
    )
    group.add_argument("--content-weight", type=float, metavar="W", help="alpha, the weight of the content cost")
    group.add_argument("--style-weight", type=float, metavar="W", help="beta, the weight of the style cost")
    group.add_argument("--variation-weight", type=float, metavar="W", help="gamma, the weight of total variation")
    group.add_argument("--weights", metavar="FROM", help=".h5 or .npz file, auto, keras, offline, random (auto)")
    group.add_argument("--rescale", nargs="+", metavar="PICTURE", help="rescale the network on these pictures")
    group.add_argument("--precision", choices=PRECISIONS, help=f"precision of the convolutions ({precision})")


def add_common_options(command: argparse.ArgumentParser) -> None:
    """Add the options of every command."""
    command.add_argument("--threads", type=int, default=None, metavar="N", help="processor cores to use (all)")
    command.add_argument("--verbose", action="store_true", default=False, help="log what happens")


def preset_of(given: Mapping[str, Any], default: str = DEFAULT_PRESET) -> presets.Preset:
    """Return the preset of a command line, else `default`, with the numbers that the command line changes.

    Raises:
        InvalidOption: A weight is not a number, or `Preset.replace` raises it.
    """
    changes: dict[str, Any] = {
        name: value
        for name in ("network", "pooling", "padding", "content_weight", "style_weight", "variation_weight")
        if (value := given.get(name)) is not None
    }
    for name in ("content_layers", "style_layers"):
        if (text := given.get(name)) is not None:
            changes[name] = _layer_weights(text)
    if given.get("normalize_gradients"):
        changes["normalize_gradients"] = True
    return presets.preset(given.get("preset") or default).replace(**changes)


def _layer_weights(text: str) -> dict[str, float]:
    table = {}
    for item in filter(None, text.split(",")):
        layer, _, weight = item.partition("=")
        try:
            table[layer.strip()] = float(weight or 1.0)
        except ValueError:
            raise InvalidOption(f"weight of layer {layer} is {weight!r}; expected a number") from None
    return table
