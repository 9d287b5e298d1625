"""The page and the HTTP API of a server, from the settings to a listener."""

import logging
from typing import TYPE_CHECKING

from ..admission.guard import Guard
from ..admission.memory import CallMemory
from ..rpc.loaded import Loaded
from ..scheduler import Scheduler
from ..settings import ServeSettings
from .address import shown, sockets
from .tls import TlsFiles

if TYPE_CHECKING:
    # The extra `http` may not be installed.
    from ..http.server import HttpListener

log = logging.getLogger(__name__)


class HttpError(Exception):
    """HTTP is asked for, and the extra `http` is missing."""


class Web:
    """The page and the HTTP API at their port.

    Args:
        settings: All settings; `http_port` must be set.
        share_port: Let other processes of this user listen at the same port.
        scheduler, loaded, guard, memory: The same objects as for gRPC, so that both share all limits.
        tls: The certificate; None for plain HTTP.

    Attributes:
        url: Address of the page for a browser.

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
        guard: Guard,
        memory: CallMemory,
        tls: TlsFiles | None,
    ) -> None:
        try:
            from ..http.app import make_app
            from ..http.server import HttpListener as Listener
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            raise HttpError(f"--http-port needs {package}: pip install 'stylewire[server,http]'") from None
        assert settings.http_port is not None
        app = make_app(settings, scheduler, loaded, guard, memory)
        bound = sockets(settings.host, settings.http_port, share_port)
        self._listener: HttpListener = Listener(app, bound, None if tls is None else tls.context)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{shown(settings.host, bound[0].getsockname()[1])}/"

    async def start(self) -> None:
        """Answer requests from now on. Until the model is loaded, the answer is 503."""
        await self._listener.start()
        log.info("the page and the HTTP API are at %s", self.url)

    async def stop(self) -> None:
        """Close the port."""
        await self._listener.stop()
