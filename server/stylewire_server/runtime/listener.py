"""The gRPC server at its port, restarted when gRPC's accept loop ends by an error.

In grpcio 1.85 a call whose method is not UTF-8 ends the loop that accepts calls (aio/server.pyx.pxi,
`_server_main_loop`). So any caller could make the process run on without a port. Open calls continue in the old server,
and new calls go to the new server. Remove this when such a call does not end `_server_main_loop` any more
(tests/robustness/test_wire.py sends such a call).
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

_POLL_SECONDS = 0.1
"""Time between two checks that the server still accepts calls."""

_RETRY_SECONDS = 0.05
"""Time between two attempts to bind the port again."""

_TRIES = 200
"""Maximum attempts to bind the port again. The old server needs some time to release it."""


class GrpcListener:
    """Runs the gRPC server, and starts a new server when its accept loop has ended. Use it in one event loop.

    Args:
        build: Makes a server with all its services, not started yet.
        bind: Binds a server to a port and returns the port; raises BindError.
    """

    def __init__(self, build: Callable[[], grpc.aio.Server], bind: Callable[[grpc.aio.Server, int], int]) -> None:
        self._build = build
        self._bind = bind
        self._old: set[asyncio.Task[None]] = set()
        self._server = build()
        self._port = 0

    def bind(self, port: int) -> int:
        """Bind the port and return it; 0 picks a free port.

        Raises:
            BindError: The port cannot be bound.
        """
        self._port = self._bind(self._server, port)
        return self._port

    async def start(self) -> None:
        """Accept calls from now on."""
        await self._server.start()

    async def serve_forever(self) -> None:
        """Restart the server whenever its accept loop ends; return after `stop`.

        Raises:
            BindError: The port cannot be bound any more.
        """
        while True:
            try:
                is_up = await self._server.wait_for_termination(_POLL_SECONDS)
            except Exception as error:
                log.error("the gRPC server has fallen, and is put up again: %r", error)
                await self._restart()
            else:
                if not is_up:
                    return

    async def stop(self, grace: float) -> None:
        """Stop the server; calls that are open after `grace` seconds are cut off."""
        await self._server.stop(grace)
        for task in self._old:
            task.cancel()

    async def _restart(self) -> None:
        task = asyncio.create_task(_dispose(self._server))
        self._old.add(task)
        task.add_done_callback(self._old.discard)
        for left in reversed(range(_TRIES)):
            server = self._build()
            try:
                self._bind(server, self._port)
            except BindError:
                if not left:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await server.start()
                self._server = server
                return


async def _dispose(server: grpc.aio.Server) -> None:
    """Stop an old server when its last call has ended."""
    with suppress(Exception):
        # This raises the error that ended the accept loop.
        await server.wait_for_termination()
    await server.stop(None)


def unsent_bytes() -> int:
    """Return the bytes that TCP connections of this process have not sent yet (SIOCOUTQ, tcp(7)); 0 off Linux."""
    folder = Path("/proc/self/fd")
    return sum(map(_unsent, folder.iterdir())) if folder.is_dir() else 0


def _unsent(link: Path) -> int:
    try:
        if not str(link.readlink()).startswith("socket:"):
            return 0
        with socket.socket(fileno=os.dup(int(link.name))) as found:
            # Standard error may be a socket too, with unsent lines of the log.
            if found.family not in (socket.AF_INET, socket.AF_INET6):
                return 0
            (count,) = struct.unpack("i", fcntl.ioctl(found, termios.TIOCOUTQ, b"\0" * 4))
    except OSError:
        # The socket was closed in the meantime, or it listens.
        return 0
    return int(count)
