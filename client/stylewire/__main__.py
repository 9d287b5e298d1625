"""`python -m stylewire`: the client on the command line."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from .channel import Tls, default_target
from .client import TIMEOUT, Client
from .commands import model, sheets, styles, stylize, video
from .commands.common import CommandFailed, UsageError
from .errors import StylewireError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = parser().parse_args(argv)
    try:
        with _client(arguments) as client:
            return arguments.run(client, arguments)
    except (CommandFailed, StylewireError) as error:
        print(f"stylewire: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        shown = error if error.filename is None else f"{error.filename}: {error.strerror}"
        print(f"stylewire: {shown}", file=sys.stderr)
        return 1
    except UsageError as error:
        print(f"stylewire: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stylewire: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stylewire", description="Neural style transfer, by a stylewire server."
    )
    parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    parser.add_argument(
        "--target", metavar="HOST:PORT", help=f"the server (default: $STYLEWIRE_TARGET, else {default_target()})"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=TIMEOUT, metavar="SECONDS", help="for one call (default: %(default)g)"
    )
    parser.add_argument("--tls", action="store_true", help="a secure channel, trusting the system's certificates")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="a secure channel, trusting these certificates")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="the client's own certificate, for mTLS")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    parser.epilog = "A token for servers that ask for one is taken from $STYLEWIRE_TOKEN."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in (stylize, styles, video, sheets, model):
        family.add(commands)
    return parser


def _client(arguments: argparse.Namespace) -> Client:
    own = arguments.tls_cert or arguments.tls_key
    if own and not (arguments.tls_cert and arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together: the client's certificate and its key")
    tls = None
    if arguments.tls or arguments.tls_ca or own:
        tls = Tls(ca=arguments.tls_ca, certificate=arguments.tls_cert, key=arguments.tls_key)
    return Client(arguments.target, timeout=arguments.timeout, tls=tls)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} s is not above 0 s")
    return seconds


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
