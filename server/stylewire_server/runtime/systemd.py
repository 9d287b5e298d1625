"""What a supervisor is told that asks for it, as systemd does for a service of Type=notify.

One datagram to the socket that $NOTIFY_SOCKET names (sd_notify(3)); nothing where there is none.
"""

import logging
import os
import socket

VARIABLE = "NOTIFY_SOCKET"

_SEND_SECONDS = 1.0
"""A supervisor that does not read holds nothing up."""

log = logging.getLogger(__name__)


def ready(status: str) -> None:
    """Calls are answered now; `status` is a line for whoever looks."""
    _tell(f"READY=1\nSTATUS={status}")


def stopping() -> None:
    """No more calls are taken."""
    _tell("STOPPING=1")


def _tell(state: str) -> None:
    address = os.environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        # A name that stands in no folder, as unix(7) writes it.
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_SEND_SECONDS)
            channel.connect(address)
            channel.send(state.encode())
    except OSError as error:
        log.warning("the supervisor cannot be told %s: %s", state.partition("\n")[0], error)
