"""The command `stylewire`: its parser, its subcommands and its exit codes."""

import argparse
import importlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..channel import TIMEOUT, Tls, default_target
from ..client import Client
from ..errors import StylewireError
from . import sheets, styles, stylize, video
from .shared import CommandFailed, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
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
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="stylewire", description="Neural style transfer with a stylewire server.")
    top.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    top.add_argument(
        "--target", metavar="HOST:PORT", help=f"the server (default: $STYLEWIRE_TARGET, else {default_target()})"
    )
    top.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help="limit of each call (default: %(default)g)",
    )
    top.add_argument(
        "--local",
        action="store_true",
        help="compute in this process, without a server; needs the extra `server` (default if no --target is given "
        "and nothing listens)",
    )
    top.add_argument("--tls", action="store_true", help="use TLS, and trust the system's certificates")
    top.add_argument("--tls-ca", type=Path, metavar="FILE", help="use TLS, and trust these certificates")
    top.add_argument("--tls-cert", type=Path, metavar="FILE", help="client certificate, for mTLS")
    top.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of the client certificate")
    top.epilog = "A token for servers that ask for one is taken from $STYLEWIRE_TOKEN."
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for family in (stylize, styles, video, sheets):
        family.add(commands)
    return top


class _Version(argparse.Action):
    """Prints the version. It is looked up only then, because that takes long."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"stylewire {version('stylewire')}")
        parser.exit()


def _client(arguments: argparse.Namespace) -> Client:
    own = arguments.tls_cert or arguments.tls_key
    if own and not (arguments.tls_cert and arguments.tls_key):
        raise UsageError("--tls-cert and --tls-key go together: the client's certificate and its key")
    tls = None
    if arguments.tls or arguments.tls_ca or own:
        tls = Tls(ca=arguments.tls_ca, certificate=arguments.tls_cert, key=arguments.tls_key)
    chosen = arguments.target or os.environ.get("STYLEWIRE_TARGET")
    if arguments.local:
        if arguments.target or tls:
            raise UsageError("--local computes in this process; leave out --target and --tls")
        return _local_client(arguments.timeout)
    client = Client(arguments.target, timeout=arguments.timeout, tls=tls)
    if chosen or tls or _listens(client.target):
        # Report a target that does not answer at once. Later calls wait for a server that restarts.
        client._check_answers()
        return client
    try:
        return _local_client(arguments.timeout)
    except CommandFailed as error:
        raise CommandFailed(
            f"no server answers at {client.target}; to start one: stylewire-server serve. To do without, {error}"
        ) from None


def _local_client(timeout: float) -> Client:
    """Return a client of the service inside this process.

    The server's package is loaded by its name, so that the client does not depend on it.
    """
    # NumPy multiplies no large matrices here, and the threads for that take long to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        local = importlib.import_module("stylewire_server.local")
    except ImportError as error:
        raise CommandFailed(f"--local needs the server's packages ({error}): pip install 'stylewire[server]'") from None
    try:
        channel = local.LocalChannel()
    except Exception as error:  # The errors of the server's package have no common type here.
        raise CommandFailed(f"--local: {error}") from error
    return Client(channel=channel, timeout=timeout)


def _listens(target: str) -> bool:
    """Return True if something listens at HOST:PORT on this machine."""
    host, _, port = target.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except OSError:
        return False


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} s is not above 0 s")
    return seconds
