"""`stylewire-server fetch`: download, verify and convert the full model."""

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from ..models.network import WeightsError
from ..preparation.published import HANDLE
from ..settings import CacheSettings
from .flags import add_flags, parse
from .progress import progress_bar

_DESCRIPTION = "Download the full model, verify it against pinned hashes and convert it once. Needs stylewire[full]."


def register(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser("fetch", help="get the full model", description=_DESCRIPTION)
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--handle", default=HANDLE, help="TF Hub or Kaggle model: its URL or short name (%(default)s)")
    origin.add_argument("--from", dest="source", type=Path, metavar="PATH", help="a local copy: a folder or .tar.gz")
    parser.add_argument(
        "--to", dest="target", type=Path, metavar="FOLDER", help="convert into this folder, not into the cache"
    )
    parser.add_argument("--allow-unverified", action="store_true", help="accept files that are not the published ones")
    add_flags(parser, CacheSettings)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = parse(CacheSettings, vars(arguments))
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s %(message)s")
    _import_tensorflow()
    from ..preparation.fetch import fetch

    try:
        with progress_bar() as progress:
            folder = fetch(
                settings.cache,
                target=arguments.target,
                handle=arguments.handle,
                source=arguments.source,
                allow_unverified=arguments.allow_unverified,
                progress=progress,
            )
    except (WeightsError, OSError) as error:
        print(f"stylewire_server: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


def _import_tensorflow() -> None:
    """Import TensorFlow with standard error closed, because its C++ code prints there at every log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # tensorflow_hub imports pkg_resources, which warns.
    warnings.filterwarnings("ignore", message="pkg_resources")
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        import tensorflow_hub  # noqa: F401
    except ModuleNotFoundError:
        # `fetch` reports the missing extra in plain words.
        return
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
