"""The HTTP listener: uvicorn on its own sockets, in the event loop of the process."""

import asyncio
import contextlib
import socket
import ssl
from asyncio import TimerHandle, Transport
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_SECONDS = 20
"""Time limit for the head of a request, from the connection or the last request on. It ends idle connections."""

_BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted."""


class _Protocol(H11Protocol):
    """The protocol of uvicorn with a time limit for the head of a request.

    uvicorn 0.54 waits for ever for the first request of a connection, and starts its keep-alive timer again at each
    byte. Remove this class when uvicorn has a time limit for headers.
    """

    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _watch_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals to the process."""
        yield


class HttpListener:
    """An HTTP server on bound sockets. Use it in one event loop.

    Args:
        app: The ASGI application.
        sockets: Bound sockets that do not listen yet. `stop` closes them.
        make_context: Makes the TLS context; None for plain HTTP.
    """

    def __init__(
        self, app: ASGIApp, sockets: Sequence[socket.socket], make_context: Callable[[], ssl.SSLContext] | None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            # Lower levels repeat this server's own messages and report every request that cannot be parsed.
            log_level="error",
            access_log=False,
            # Any caller can send X-Forwarded-For with any address.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_HEAD_SECONDS,
            timeout_graceful_shutdown=1,
            backlog=_BACKLOG,
            ssl_context_factory=None if make_context is None else lambda *_: make_context(),
        )
        self._sockets = list(sockets)
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answer from now on."""
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            listening.cancel()
            self._serving.result()

    async def stop(self) -> None:
        """Close the sockets and idle connections; give open requests a second to end."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        for each in self._sockets:
            each.close()
