"""`stylewire-server quantize`: make the int8 transformer of the full model."""

import argparse
import io
import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from ..models.full import FOLDER
from ..models.network import WeightsError
from ..settings import CacheSettings
from .flags import add_flags, parse
from .progress import progress_bar


def register(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser(
        "quantize",
        help="make the int8 transformer of the full model",
        description="Quantize the transformer of the fetched full model to int8, for `serve --precision int8`. The "
        "result is kept only if it is close to f32 on pictures outside the calibration set. Needs stylewire[int8].",
    )
    parser.add_argument(
        "pictures",
        type=Path,
        metavar="PICTURES",
        help="a folder with pictures to calibrate on in `content` and `style`",
    )
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a converted model, not the one in the cache")
    add_flags(parser, CacheSettings)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = parse(CacheSettings, vars(arguments))
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    from ..preparation.quantize import quantize

    folder = arguments.model or settings.cache / FOLDER
    try:
        # NNCF draws bars of its own on standard output.
        with progress_bar() as progress, redirect_stdout(io.StringIO()):
            found = quantize(folder, arguments.pictures, progress=progress)
    except (WeightsError, OSError) as error:
        print(f"stylewire_server: {error}", file=sys.stderr)
        return 1
    print(f"int8 {found}", file=sys.stderr)
    print(folder)
    return 0
