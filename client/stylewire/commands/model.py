"""`model`: what the server serves."""

import argparse

from ..client import Client


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("model", help="what the server serves, and its limits")
    parser.set_defaults(run=run)


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    print(str(client.model()).rstrip())
    return 0
