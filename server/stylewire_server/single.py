"""One server process, from its settings to its exit code."""

import asyncio
import sys
import threading
from typing import TextIO

from . import app, binding, blobs, folder, logs, metrics, tls, tokens, tracing
from .engine.base import EngineError
from .exits import CRASHED, REFUSED, leave
from .settings import ServeSettings
from .weights.network import WeightsError

_REFUSALS = (
    WeightsError,
    EngineError,
    binding.BindError,
    blobs.BlobsError,
    folder.FolderError,
    metrics.MetricsError,
    tls.TlsError,
    tokens.TokenFileError,
    tracing.TracingError,
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
        asyncio.run(app.serve(settings, share_port))
    except _REFUSALS as error:
        print(f"stylewire_server: {error}", file=errors or sys.stderr)
        return REFUSED
    except app.Crashed as error:
        print(f"stylewire_server: {error}", file=errors or sys.stderr)
        return CRASHED
    return 0
