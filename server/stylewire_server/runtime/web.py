"""The HTTP side of a server: from the settings to a listener."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..admission.open_calls import OpenCallLimit
from ..admission.tokens import TokenFile
from ..rpc.loaded import Loaded
from ..scheduler import Scheduler
from ..settings import ServeSettings
from ..telemetry.calls import Watcher
from .address import shown, sockets
from .tls import TlsFiles

if TYPE_CHECKING:
    # The extra `http` may not be installed.
    pass

log = logging.getLogger(__name__)


class HttpError(Exception):
    """HTTP is asked for, and the extra `http` is missing."""


class Web:
    """The page and the HTTP API at their port.

    Args:
        settings: All of them; `http_port` is set.
        share_port: Let other processes of this user listen at the same port.
        scheduler, loaded, tokens, calls, watchers: Those of the gRPC side: one admission serves both.
        tls: The certificate; None for plain HTTP.

    Attributes:
        url: Where a browser finds the page.

    Raises:
        HttpError: The extra `http` is missing.
        BindError: The port cannot be bound.
    """

    def __init__(
        self,
        settings: ServeSettings,
        share_port: bool,
        scheduler: Scheduler,
        loaded: Loaded,
        tokens: TokenFile | None,
        calls: OpenCallLimit,
        watchers: Sequence[Watcher],
        tls: TlsFiles | None,
    ) -> None:
        try:
            from ..http.app import make_app
            from ..http.guard import Gate
            from ..http.server import HttpListener
        except ModuleNotFoundError as error:
            raise HttpError(f"--http-port needs {error.name}: pip install 'stylewire[server,http]'") from None
        assert settings.http_port is not None
        self._gate: Gate = Gate(tokens, calls, scheduler.check_room, watchers)
        app = make_app(settings, scheduler, loaded, self._gate)
        bound = sockets(settings.host, settings.http_port, share_port)
        self._listener: HttpListener = HttpListener(app, bound, None if tls is None else tls.context)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{shown(settings.host, bound[0].getsockname()[1])}/"

    async def start(self) -> None:
        """Answer from now on; as long as the model loads, with 503."""
        await self._listener.start()
        log.info("the page and the HTTP API are at %s", self.url)

    def drain(self) -> None:
        """Refuse new calls from now on; those that are open are seen through."""
        self._gate.draining = True

    async def stop(self) -> None:
        """Close the port."""
        await self._listener.stop()
