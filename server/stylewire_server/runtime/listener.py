"""The gRPC server at its port, put up again where it has fallen.

In grpcio 1.85 a call whose method is no UTF-8 ends the loop that accepts calls (aio/server.pyx.pxi,
`_server_main_loop`): one frame of a stranger, and the process would live on without a port. Calls that are open go on
in the server that fell; their callers come back to the new one.
"""

import asyncio
import fcntl
import logging
import os
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc.aio

from .address import BindError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
"""Between two looks at whether it stands."""

_AGAIN_SECONDS = 0.05
"""Between two tries to bind the port again."""

_TRIES = 200
"""The server that fell lets go of the port in its own time."""


class Front:
    """Makes the gRPC server, and a new one when that falls. For one event loop.

    Args:
        build: Makes a server with all its services, not started yet.
        bind: Binds a server to a port, and returns it; raises BindError.
    """

    def __init__(self, build: Callable[[], grpc.aio.Server], bind: Callable[[grpc.aio.Server, int], int]) -> None:
        self._build = build
        self._bind = bind
        self._fallen: set[asyncio.Task[None]] = set()
        self._server = build()
        self._port = 0

    def bind(self, port: int) -> int:
        """Takes the port, 0 for a free one, and returns it.

        Raises:
            BindError: It cannot be had.
        """
        self._port = self._bind(self._server, port)
        return self._port

    async def start(self) -> None:
        """Answers there."""
        await self._server.start()

    async def tend(self) -> None:
        """Puts the server up again as often as it falls; returns when it was stopped.

        Raises:
            BindError: The port is not to be had any more.
        """
        while True:
            try:
                stands = await self._server.wait_for_termination(_LOOK_SECONDS)
            except Exception as error:
                log.error("the gRPC server has fallen, and is put up again: %r", error)
                await self._again()
            else:
                if not stands:
                    return

    async def stop(self, grace: float) -> None:
        """Ends it, and the calls that are open in `grace` seconds."""
        await self._server.stop(grace)
        for task in self._fallen:
            task.cancel()

    async def _again(self) -> None:
        task = asyncio.create_task(_bury(self._server))
        self._fallen.add(task)
        task.add_done_callback(self._fallen.discard)
        for left in reversed(range(_TRIES)):
            server = self._build()
            try:
                self._bind(server, self._port)
            except BindError:
                if not left:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await server.start()
                self._server = server
                return


async def _bury(server: grpc.aio.Server) -> None:
    """Lets a fallen server go when its last call has ended."""
    with suppress(Exception):
        # It raises what it fell by.
        await server.wait_for_termination()
    await server.stop(None)


def unsent_bytes() -> int:
    """Of all TCP connections of this process, as Linux counts them (SIOCOUTQ, tcp(7)); 0 on other systems."""
    folder = Path("/proc/self/fd")
    return sum(map(_unsent, folder.iterdir())) if folder.is_dir() else 0


def _unsent(link: Path) -> int:
    try:
        if not str(link.readlink()).startswith("socket:"):
            return 0
        with socket.socket(fileno=os.dup(int(link.name))) as found:
            # Standard error may be a socket too, to a log that is behind.
            if found.family not in (socket.AF_INET, socket.AF_INET6):
                return 0
            (count,) = struct.unpack("i", fcntl.ioctl(found, termios.TIOCOUTQ, b"\0" * 4))
    except OSError:
        # Closed in the meantime, or one that listens.
        return 0
    return int(count)
