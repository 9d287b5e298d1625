"""One server process, from its settings to its exit code."""

import asyncio
import sys
from typing import TextIO

from ..admission import tokens
from ..engine.base import EngineError
from ..models.network import WeightsError
from ..rpc.grpc_workarounds import is_about_this_server
from ..settings import ServeSettings
from ..styles import storage
from ..telemetry import logs, metrics, tracing
from . import address, service, style_folder, tls, web
from .exits import CRASHED, REFUSED

_REFUSALS = (
    WeightsError,
    EngineError,
    address.BindError,
    storage.BlobsError,
    style_folder.FolderError,
    metrics.MetricsError,
    tls.TlsError,
    tokens.TokenFileError,
    tracing.TracingError,
    web.HttpError,
)


def serve(settings: ServeSettings, share_port: bool = False, errors: TextIO | None = None) -> int:
    """Serve as `Service.run` does, and return the exit code: 0, or one of `exits`.

    An abandoned job may still run. End the process with `exits.exit_now`, which does not wait for it.

    Args:
        settings: All settings; `processes` is for the supervisor.
        share_port: Let other processes of this user listen at the same port.
        errors: Output for the one line that explains an exit code other than 0; None for stderr.
    """
    logs.configure(settings.log_level, settings.log_format, is_about_this_server)

    async def run() -> None:
        await service.Service(settings, share_port).run()

    code = 0
    try:
        asyncio.run(run())
    except (*_REFUSALS, service.Crashed) as error:
        print(f"stylewire_server: {error}", file=errors or sys.stderr)
        code = CRASHED if isinstance(error, service.Crashed) else REFUSED
    return code
