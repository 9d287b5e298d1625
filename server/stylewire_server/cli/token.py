"""`stylewire-server token`: make a bearer token and its entry for the token file."""

import argparse
import sys
from typing import Any


def register(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser(
        "token",
        help="make a bearer token",
        description="Make a token. Its entry for the token file goes to stdout. The token itself goes to stderr, once; "
        "it is stored nowhere.",
    )
    parser.add_argument("name", help="the owner's name, shown in the log")
    parser.add_argument("--rate", type=float, metavar="CALLS", help="allowed calls a second (default: no limit)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # gRPC takes a quarter of a second to import; the other commands do not need it.
    from ..admission import tokens

    try:
        token, entry = tokens.new_token(arguments.name, arguments.rate)
    except ValueError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)
        return 2
    print(entry)
    print(f"token, shown only now: {token}", file=sys.stderr)
    return 0
