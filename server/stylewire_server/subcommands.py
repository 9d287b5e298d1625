"""Commands beside `serve` and `fetch`: an int8 model, a token, a probe."""

import argparse
import io
import logging
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from . import tokens
from .commandline import UsageError, add_flags, parse
from .progressbar import ProgressBar
from .settings import CacheSettings
from .weights.full import FOLDER
from .weights.network import WeightsError


def add_quantize(commands: Any) -> None:
    """`quantize PICTURES`: an int8 transformer beside the full model's own; the folder goes to stdout."""
    parser = commands.add_parser(
        "quantize",
        help="make the full model's int8 transformer",
        description="Quantise the fetched full model's transformer to int8, for `serve --precision int8`. It is kept "
        "only if it is close to f32 on pictures that it was not calibrated on. Needs stylewire[int8].",
    )
    parser.add_argument(
        "pictures",
        type=Path,
        metavar="PICTURES",
        help="a folder with pictures to calibrate on in `content` and `style`",
    )
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a converted model, not the one in the cache")
    add_flags(parser, CacheSettings)
    parser.set_defaults(run=_quantize)


def add_token(commands: Any) -> None:
    """`token NAME`: a fresh token on stderr, its entry for the token file on stdout."""
    parser = commands.add_parser(
        "token",
        help="make a token",
        description="Makes a token: its entry goes to stdout, to be appended to the token file; the token itself goes "
        "to stderr, once, and is kept nowhere.",
    )
    parser.add_argument("name", help="whose it is; shown in the log")
    parser.add_argument(
        "--rate", type=float, metavar="CALLS", help="calls a second that it may make (default: no limit)"
    )
    parser.set_defaults(run=_token)


def add_health(commands: Any) -> None:
    """`health`: exit code 0 if the server is serving, 1 if not."""
    parser = commands.add_parser(
        "health",
        help="ask a server whether it serves",
        description="Exits with 0 if the server takes calls, with 1 if it does not, or does not answer.",
    )
    parser.add_argument("--target", default="localhost:50051", metavar="HOST:PORT", help="(default: %(default)s)")
    parser.add_argument("--service", default="", help="as stylewire.v1.Stylizer (default: the whole server)")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="(default: %(default)g)")
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="certificates to trust, PEM (default: a plain connection)"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="own certificate, for a server that asks for one")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    parser.set_defaults(run=_health)


def _quantize(arguments: argparse.Namespace) -> int:
    settings = parse(CacheSettings, vars(arguments))
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    from .quantize import quantize

    folder = arguments.model or settings.cache / FOLDER
    try:
        # NNCF draws bars of its own on standard output.
        with ProgressBar() as progress, redirect_stdout(io.StringIO()):
            found = quantize(folder, arguments.pictures, progress=progress)
    except (WeightsError, OSError) as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"int8 {found}", file=sys.stderr)  # noqa: T201
    print(folder)  # noqa: T201
    return 0


def _token(arguments: argparse.Namespace) -> int:
    try:
        token, entry = tokens.new_token(arguments.name, arguments.rate)
    except ValueError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(entry)  # noqa: T201
    print(f"token, shown only now: {token}", file=sys.stderr)  # noqa: T201
    return 0


def _health(arguments: argparse.Namespace) -> int:
    from . import probe

    if (arguments.tls_cert is None) != (arguments.tls_key is None) or (arguments.tls_cert and not arguments.tls_ca):
        raise UsageError("--tls-cert and --tls-key go together, and with --tls-ca")
    try:
        health = probe.check(
            arguments.target,
            arguments.service,
            arguments.timeout,
            arguments.tls_ca,
            arguments.tls_cert,
            arguments.tls_key,
        )
    except OSError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(health.status)  # noqa: T201
    return 0 if health.serving else 1
