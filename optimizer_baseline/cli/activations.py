"""The command line of the pictures of layers: `stylewire-baseline activations …`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .. import images
from ..vgg import architecture
from .options import add_common_options


def register(commands: Any) -> None:
    """Add `activations` to the command line's subparsers."""
    one = commands.add_parser(
        "activations",
        help="draw what the units of a layer respond to",
        description="Activation maps and reconstructions of the first IMAGE, and over all of them the patches that "
        "excite each unit most, with their deconvnet projections: DIR/LAYER.png.",
    )
    one.set_defaults(run_command=_activations)
    one.add_argument("images", nargs="+", metavar="IMAGE", help="pictures, or folders of them")
    one.add_argument("--layer", nargs="+", required=True, metavar="NAME", help="e.g. conv1_2 conv3_1")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    one.add_argument(
        "--channels", type=int, nargs="+", metavar="C", help="channels by number (those that respond most)"
    )
    one.add_argument("--count", type=int, default=6, metavar="N", help="number of channels without --channels (6)")
    one.add_argument("--top", type=int, default=9, metavar="N", help="patches for each unit (9)")
    one.add_argument("--size", type=int, default=224, metavar="PX", help="longer side of the pictures (224)")
    one.add_argument(
        "--iterations", type=int, default=100, metavar="N", help="iterations of each reconstruction; 0: none (100)"
    )
    one.add_argument(
        "--network", choices=tuple(architecture.NETWORKS), default="vgg16", help="network to look into (vgg16)"
    )
    one.add_argument("--weights", default="auto", metavar="FROM", help=".h5 or .npz file, auto, keras, offline")
    add_common_options(one)


def _activations(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ..activations.render import LayerView, render

    views = [
        LayerView(
            layer=layer,
            channels=arguments.channels,
            count=arguments.count,
            top=arguments.top,
            size=arguments.size,
            iterations=arguments.iterations,
            network=arguments.network,
            weights=arguments.weights,
        )
        for layer in arguments.layer
    ]
    files = images.files(arguments.images)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with Console(stderr=True).status("…") as status:
        for view in views:
            path = arguments.out / f"{view.layer}.png"
            render(files, view, status.update).save(path)
            sys.stdout.write(f"{path}\n")
    return 0
