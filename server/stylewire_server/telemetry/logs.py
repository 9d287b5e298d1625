"""The log: lines of text or of JSON, on stderr, one for every call."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import Any

import grpc

from .calls import Call, Watcher

log = logging.getLogger("stylewire_server.calls")

_SERVERS_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)


def configure(level: str, form: str) -> None:
    """Sets the process's log up; form is "text" or "json"."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Of what Pillow thinks of a stranger's file.
    logging.captureWarnings(True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_of_this_side)


def _is_of_this_side(record: logging.LogRecord) -> bool:
    """Not of a caller that has gone, was cut off at the end, or sends what is no text; gRPC writes a trace for each,
    and in the last case what was sent, which may be a token."""
    if str(record.msg).startswith("Invalid encoding"):
        return False
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not (issubclass(kind, asyncio.CancelledError) or kind.__name__ == "ExecuteBatchError")


class CallLog(Watcher):
    """One line for every call that has ended."""

    def ended(self, call: Call) -> None:
        """See `Watcher`."""
        level = logging.ERROR if call.code in _SERVERS_FAULT else logging.INFO
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
        # A line is one line, whatever a message or a certificate's name carries; a trace is left as it is.
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
