"""The log on stderr: text or JSON, with one line for every call."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc

from .calls import Call, Watcher

log = logging.getLogger("stylewire_server.calls")

_SERVER_ERRORS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)


def configure(level: str, form: str, is_wanted: Callable[[logging.LogRecord], bool]) -> None:
    """Configure the log of the process.

    Args:
        level: The lowest level that is logged.
        form: "text" or "json".
        is_wanted: Returns True for those of gRPC's own records that are logged.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Pillow warns about files that callers send.
    logging.captureWarnings(True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(is_wanted)


class CallLog(Watcher):
    """Logs one line for every call that has ended."""

    def ended(self, call: Call) -> None:
        """Log the call, as an error if the server caused the failure."""
        level = logging.ERROR if call.code in _SERVER_ERRORS else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "call", extra={"call": _fields(call)})


def _fields(call: Call) -> dict[str, Any]:
    assert call.code is not None
    stages = {f"{stage}_ms": round(seconds * 1e3, 2) for stage, seconds in sorted(call.stages.items())}
    return {
        "method": call.method.rpartition("/")[2],
        "code": call.code.name,
        "ms": round(call.seconds * 1e3, 2),
        "caller": call.account or "-",
        "peer": call.peer,
        "request_id": call.request_id,
        **stages,
    }


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "call", {})
        line = " ".join([super().format(record), *(f"{name}={value}" for name, value in fields.items())])
        # Line breaks in a message or in the name of a certificate must not make a second line. Traces keep theirs.
        return line if record.exc_info else line.replace("\n", "\\n").replace("\r", "\\r")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "call", {}),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
