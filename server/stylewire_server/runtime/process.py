"""One server process, from its settings to its exit code."""

import asyncio
import sys
import threading
from typing import TextIO

from ..admission import tokens
from ..engine.base import EngineError
from ..models.network import WeightsError
from ..settings import ServeSettings
from ..styles import storage
from ..telemetry import logs, metrics, tracing
from . import address, service, style_folder, tls, web
from .exits import CRASHED, REFUSED, leave

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


_IDLE_SECONDS = 0.1
"""In which a worker thread that has nothing to do ends."""


def serve(settings: ServeSettings, share_port: bool = False, errors: TextIO | None = None) -> int:
    """Serves as `app.serve` does, and returns the exit code: 0, or one of `exits`.

    Does not return, but ends the process, where a job that nobody waits for is still at work.

    Args:
        settings: All of them; `processes` is for others.
        share_port: See `app.serve`.
        errors: Where the one line goes that says why it is not 0; None for stderr.
    """
    logs.configure(settings.log_level, settings.log_format)
    code = _serve(settings, share_port, errors)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(_IDLE_SECONDS)
            if thread.is_alive():
                leave(code)
    return code


def _serve(settings: ServeSettings, share_port: bool, errors: TextIO | None) -> int:
    try:
        asyncio.run(service.serve(settings, share_port))
    except _REFUSALS as error:
        print(f"stylewire_server: {error}", file=errors or sys.stderr)
        return REFUSED
    except service.Crashed as error:
        print(f"stylewire_server: {error}", file=errors or sys.stderr)
        return CRASHED
    return 0
