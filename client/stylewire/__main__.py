"""`python -m stylewire`: the client on the command line."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .channel import default_target
from .client import TIMEOUT, Client
from .commands import model, sheets, styles, stylize, video
from .commands.common import CommandFailed, UsageError
from .errors import StylewireError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        with Client(arguments.target, timeout=arguments.timeout) as client:
            return arguments.run(client, arguments)
    except (CommandFailed, StylewireError) as error:
        print(f"stylewire: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"stylewire: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    except UsageError as error:
        print(f"stylewire: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("stylewire: interrupted", file=sys.stderr)  # noqa: T201
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stylewire", description="Neural style transfer, by a stylewire server.")
    parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    parser.add_argument(
        "--target", metavar="HOST:PORT", help=f"the server (default: $STYLEWIRE_TARGET, else {default_target()})"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help="for one call (default: %(default)g)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for family in (stylize, styles, video, sheets, model):
        family.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
