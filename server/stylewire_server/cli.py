"""The command line: `python -m stylewire_server serve|fetch|quantize|token|health …`."""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from .commandline import UsageError, add_flags, parse
from .memory import keep_memory_flat
from .progressbar import ProgressBar
from .settings import CacheSettings, ServeSettings
from .subcommands import add_health, add_quantize, add_token
from .weights.network import WeightsError
from .weights.published import HANDLE


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 70 the engine crashed."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stylewire_server", description="Neural style transfer as a service, over gRPC."
    )
    parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM or SIGINT", description=ServeSettings.__doc__)
    add_flags(serve, ServeSettings)
    serve.set_defaults(run=_serve)
    fetch = commands.add_parser("fetch", help="get the full model", description=_FETCH)
    origin = fetch.add_mutually_exclusive_group()
    origin.add_argument("--handle", default=HANDLE, help="TF Hub or Kaggle model: its URL or short name (%(default)s)")
    origin.add_argument("--from", dest="source", type=Path, metavar="PATH", help="a copy instead: a folder or .tar.gz")
    fetch.add_argument("--to", dest="target", type=Path, metavar="FOLDER", help="convert into it, not into the cache")
    fetch.add_argument("--allow-unverified", action="store_true", help="take files that are not the published ones")
    add_flags(fetch, CacheSettings)
    fetch.set_defaults(run=_fetch)
    add_quantize(commands)
    add_token(commands)
    add_health(commands)
    return parser


_FETCH = "Download the full model, verify it against pinned hashes and convert it once. Needs stylewire[full]."


def _fetch(arguments: argparse.Namespace) -> int:
    settings = parse(CacheSettings, vars(arguments))
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s %(message)s")
    _import_tensorflow()
    from .fetch import fetch

    try:
        with ProgressBar() as progress:
            folder = fetch(
                settings.cache,
                target=arguments.target,
                handle=arguments.handle,
                source=arguments.source,
                allow_unverified=arguments.allow_unverified,
                progress=progress,
            )
    except (WeightsError, OSError) as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(folder)  # noqa: T201
    return 0


def _import_tensorflow() -> None:
    """Silently: it greets on standard error from C++, which no logging setting reaches."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # tensorflow_hub imports pkg_resources, which warns.
    warnings.filterwarnings("ignore", message="pkg_resources")
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow_hub  # noqa: F401
    except ModuleNotFoundError:
        # Whoever needs it says so in plain words.
        return
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)


def _serve(arguments: argparse.Namespace) -> int:
    settings = parse(ServeSettings, vars(arguments))
    if settings.effective_processes > 1:
        from . import processes

        return processes.serve(settings)
    keep_memory_flat()
    # Here, because it takes a second to import and --help does not need it.
    from . import single

    return single.serve(settings)
