"""The command line `stylewire-server`: its parser and its exit codes."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from . import batch, fetch, health, quantize, serve, token
from .flags import UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; None for those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 70 the engine crashed.
    """
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stylewire-server", description="Neural style transfer as a service.")
    parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (serve, batch, fetch, quantize, token, health):
        command.register(commands)
    return parser
