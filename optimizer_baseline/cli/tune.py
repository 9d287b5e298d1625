"""The command line of tuned styles: `stylewire-baseline tune …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import images
from ..errors import InvalidOption, StopRun
from .options import INTERRUPTED, add_common_options, add_cost_options, preset_of
from .progress import cost_bar
from .stylize import interruptible

TUNING_PRESET = "magenta"
"""The cost that the network was trained with."""

_SUFFIX = ".style"


def register(commands: Any) -> None:
    """Add `tune` to the command line's subparsers."""
    one = commands.add_parser(
        "tune",
        help="tune the served network to one style picture",
        description="Descend the cost of STYLE over the norm parameters of the served network, and write a style file. "
        "`stylewire styles import FILE` and `stylewire-server serve --styles FOLDER` take it. A picture takes the "
        "server as long as before. Ctrl-C keeps the best so far.",
    )
    one.set_defaults(run_command=_tune)
    one.add_argument("style", metavar="STYLE", help="the style picture")
    one.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the style file, NAME.style")
    one.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="photographs to tune on, at least 2; the first of every 3 is kept apart, to measure on (three photographs "
        "that come with the package)",
    )
    one.add_argument("--model", metavar="MODEL", help="auto, lite, full, or a converted folder (lite)")
    one.add_argument("--steps", type=int, metavar="N", help="maximum steps of Adam (24)")
    one.add_argument("--size", type=int, metavar="PX", help="side of the crops (160)")
    one.add_argument("--learning-rate", type=float, metavar="R", help="learning rate of Adam (0.1)")
    one.add_argument(
        "--amount",
        type=float,
        metavar="A",
        help="point between predicted (0) and tuned (1) (the furthest that leaves the photograph recognizable)",
    )
    one.add_argument("--seed", type=int, metavar="N", help="seed of the random crops (0)")
    one.add_argument("--origin", metavar="TEXT", help="where the style comes from (the picture's file name)")
    one.add_argument("--sheet", type=Path, metavar="FILE", help="pictures before and after (FILE with .png)")
    one.add_argument("--quiet", action="store_true", help="no progress bar")
    add_cost_options(one, preset=TUNING_PRESET)
    add_common_options(one)


def _tune(arguments: argparse.Namespace) -> int:
    from stylewire_server.engine.base import EngineError
    from stylewire_server.models.network import WeightsError as NetworkError

    from ..errors import WeightsError
    from ..tuning.style import TuneProgress, TuneSettings
    from ..tuning.tuner import tune

    out: Path = arguments.out
    sheet: Path = arguments.sheet or out.with_suffix(".png")
    if out.suffix != _SUFFIX:
        raise InvalidOption(f"{out} does not end in {_SUFFIX}, by which the server knows a style file")
    for path in (out, sheet):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.samefile(arguments.style):
            raise InvalidOption(f"{path} is the style picture; write to another file")
    given = vars(arguments)
    names = ("model", "weights", "rescale", "precision", "steps", "size", "learning_rate", "amount", "seed")
    settings = TuneSettings(
        preset=preset_of(given, TUNING_PRESET),
        **{name: given[name] for name in names if given[name] is not None},
    )
    photographs = images.files([arguments.photos]) if arguments.photos else []
    with interruptible() as interrupted, _bar(arguments.quiet) as show:

        def on_progress(progress: TuneProgress) -> None:
            show(progress)
            if interrupted.is_set():
                raise StopRun("interrupted")

        try:
            tuned = tune(arguments.style, photographs=photographs, settings=settings, callback=on_progress)
        except (NetworkError, EngineError) as error:
            raise WeightsError(str(error)) from None
    out.write_bytes(tuned.file(arguments.origin or ""))
    tuned.sheet().save(sheet)
    before, after = tuned.before, tuned.after
    sys.stderr.write(
        f"{out}: on photographs kept apart the cost is {after.cost / before.cost:.2f} of what it was, the content cost "
        f"{after.content_cost / before.content_cost:.2f}; amount {tuned.amount:g}, {tuned.steps} steps, "
        f"{tuned.seconds:.0f} CPU seconds{f' ({tuned.stopped})' if tuned.stopped else ''}; see {sheet}\n"
    )
    return INTERRUPTED if interrupted.is_set() else 0


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Show a live bar with the costs on standard error; yield what to call with each `TuneProgress`."""
    with cost_bar(quiet) as bar:

        def show(progress: Any) -> None:
            now, before = progress.now, progress.before
            costs = f"cost x {now.cost / before.cost:.2f}  content x {now.content_cost / before.content_cost:.2f}"
            bar("tuning", progress.step, progress.steps, costs)

        yield show
