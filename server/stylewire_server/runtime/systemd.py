"""Announcements that the server serves or stops: a line on stdout, and a message to systemd.

systemd sets $NOTIFY_SOCKET for a service of Type=notify, and gets one datagram there (sd_notify(3)).
"""

import logging
import os
import socket
import sys

VARIABLE = "NOTIFY_SOCKET"
"""Environment variable with the address of systemd's socket."""

_SEND_SECONDS = 1.0
"""Time limit for a message to a supervisor that does not read."""

log = logging.getLogger(__name__)


def serving(banner: str) -> None:
    """Announce that the server serves calls from now on.

    A stdout that cannot be written, as on a full disk, is logged and does not stop the server.

    Args:
        banner: The line `serving on …`.
    """
    try:
        print(banner, flush=True)  # noqa: T201
    except OSError as error:
        log.warning("cannot write %r to standard output: %s", banner, error.strerror)
        # Python flushes stdout again at its exit. This would fail again and give exit code 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _notify(f"READY=1\nSTATUS={banner}")


def stopping() -> None:
    """Announce that the server takes no more calls."""
    _notify("STOPPING=1")


def _notify(state: str) -> None:
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        # An abstract socket (unix(7)).
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_SEND_SECONDS)
            channel.connect(address)
            channel.send(state.encode())
    except OSError as error:
        log.warning("the supervisor cannot be told %s: %s", state.partition("\n")[0], error)
