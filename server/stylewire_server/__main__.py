"""`python -m stylewire_server`: the command line of the server."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .commandline import UsageError, add_flags, parse
from .settings import ServeSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stylewire_server", description="Neural style transfer as a service, over gRPC."
    )
    parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM or SIGINT", description=ServeSettings.__doc__)
    add_flags(serve, ServeSettings)
    serve.set_defaults(run=_serve)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    settings = parse(ServeSettings, vars(arguments))
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Here, because these take a second to import and --help does not need them.
    from .app import BindError, serve
    from .weights.network import WeightsError

    try:
        asyncio.run(serve(settings))
    except (BindError, WeightsError) as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
