"""`stylewire-server serve`: run the server until SIGTERM or SIGINT."""

import argparse
from typing import Any

from ..runtime.memory import configure_malloc
from ..settings import ServeSettings
from .flags import add_flags, parse


def register(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser("serve", help="serve until SIGTERM or SIGINT", description=ServeSettings.__doc__)
    add_flags(parser, ServeSettings)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = parse(ServeSettings, vars(arguments))
    if settings.effective_processes > 1:
        from ..runtime import supervisor

        return supervisor.serve(settings)
    configure_malloc()
    # The import takes a second, which --help need not wait for.
    from ..runtime import process

    return process.serve(settings)
