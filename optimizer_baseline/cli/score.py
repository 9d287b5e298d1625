"""The command line of the costs: `stylewire-baseline score …`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..scoring import DEFAULT_PRESET
from .options import add_common_options, add_cost_options, preset_of


def register(commands: Any) -> None:
    """Add `score` to the command line's subparsers."""
    one = commands.add_parser(
        "score",
        help="print all costs of a picture",
        description="Costs of PICTURE as a stylization of CONTENT by STYLE. Unweighted costs are before the content, "
        "style and variation weights; the total is after.",
    )
    one.set_defaults(run_command=_score)
    for name in ("content", "style", "picture"):
        one.add_argument(name, metavar=name.upper())
    add_cost_options(one, precision="f32", preset=DEFAULT_PRESET)
    one.add_argument("--size", type=int, metavar="PX", help="longer side at which to compare (256)")
    one.add_argument("--style-size", type=int, metavar="PX", help="longer side of the style (as --size)")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    add_common_options(one)


def _score(arguments: argparse.Namespace) -> int:
    from ..scoring import score

    asked = {name: getattr(arguments, name) for name in ("size", "style_size", "weights", "rescale", "precision")}
    outcome = score(
        arguments.content,
        arguments.style,
        arguments.picture,
        preset=preset_of(vars(arguments), DEFAULT_PRESET),
        **{name: value for name, value in asked.items() if value is not None},
    )
    if arguments.json:
        sys.stdout.write(json.dumps(outcome.as_dict(), indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    costs = outcome.costs
    title = f"{outcome.preset}, {outcome.network}, {outcome.width}x{outcome.height} px, {outcome.precision}"
    table = Table("cost", "unweighted", "weighted", title=title)
    rows = [("content", costs.content_cost, costs.weighted_content_cost)]
    rows += [
        (f"style {layer}", value, costs.weighted_style_cost_by_layer[layer])
        for layer, value in costs.style_cost_by_layer.items()
    ]
    rows += [
        ("style, all layers", costs.style_cost, costs.weighted_style_cost),
        ("total variation", costs.total_variation, costs.weighted_total_variation),
    ]
    for name, raw, weighted in rows:
        table.add_row(name, f"{raw:.6g}", f"{weighted:.6g}")
    table.add_section()
    table.add_row("total", "", f"{costs.total_cost:.6g}")
    for column in table.columns[1:]:
        column.justify = "right"
    Console().print(table)
    return 0
