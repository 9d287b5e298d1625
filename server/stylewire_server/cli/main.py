"""The command line `stylewire-server`: its parser and its exit codes."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from .flags import UsageError

COMMANDS = ("serve", "batch", "fetch", "quantize", "token", "health")
"""Names of the commands, each of a module in this package, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; None for those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 70 the engine crashed.
    """
    given = sys.argv[1:] if argv is None else argv
    try:
        arguments = parser(only=given[0] if given and given[0] in COMMANDS else None).parse_args(given)
        return arguments.run(arguments)
    except UsageError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        print(f"stylewire_server: {package} is not installed: pip install 'stylewire[server]'", file=sys.stderr)
        return 1


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, or of one.

    One command is ready sooner, because the others are not imported: probes run `health` every few seconds.
    """
    parser = argparse.ArgumentParser(prog="stylewire-server", description="Neural style transfer as a service.")
    if only is None:
        from importlib.metadata import version

        parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS if only is None else [only]:
        import_module(f"{__package__}.{command}").register(commands)
    return parser
