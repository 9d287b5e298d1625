"""Conversion of errors to HTTP answers: `application/problem+json` (RFC 9457)."""

import math
import re
from http import HTTPStatus
from typing import Any

import grpc
from starlette.responses import JSONResponse

from ..errors import InvalidInput, ResourceExhausted, ServiceError
from ..statuses import status_of

_RETRY_UNAVAILABLE_SECONDS = 1.0
"""Value of Retry-After for 503. A server that loads is ready, or one that drains is replaced, within seconds."""


class Refusal(InvalidInput):
    """A fault in the HTTP part of a request, which has its own HTTP status.

    Args:
        status: The HTTP status.
        field: The header or field that is wrong.
        message: What is wrong, with value, limit and unit.
        facts: Value, limit and unit as in `InvalidInput`.
    """

    def __init__(self, status: HTTPStatus, field: str, message: str, **facts: Any) -> None:
        super().__init__(field, message, **facts)
        self.status = status


def problem(error: ServiceError, request_id: str) -> JSONResponse:
    """Return the answer for an error of the domain."""
    code, status = status_of(error)
    facts: dict[str, str | int | float] = {}
    if isinstance(error, InvalidInput):
        given = {"field": error.field, "value": error.value, "limit": error.limit, "unit": error.unit}
        facts = {name: value for name, value in given.items() if value not in (None, "")}
    if isinstance(error, Refusal):
        status = error.status
    retry_after = error.retry_after if isinstance(error, ResourceExhausted) else None
    if retry_after is None and status is HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = _RETRY_UNAVAILABLE_SECONDS
    return document(status, str(error), request_id, kind=_kind(error), code=code.name, retry_after=retry_after, **facts)


def internal(request_id: str) -> JSONResponse:
    """Return the answer for a bug. The trace is only in the log, under the request id."""
    message = f"internal error; request id {request_id}"
    return document(500, message, request_id, kind="internal", code=grpc.StatusCode.INTERNAL.name)


def document(
    status: int,
    detail: str,
    request_id: str,
    *,
    kind: str,
    code: str,
    retry_after: float | None = None,
    **facts: str | int | float,
) -> JSONResponse:
    """Return a problem document.

    Args:
        status: The HTTP status.
        detail: What is wrong, in one sentence.
        request_id: The request's id, as in the log.
        kind: The last part of the problem's type, `urn:stylewire:problem:KIND`.
        code: The name of the gRPC status.
        retry_after: Seconds after which a retry makes sense; None for no advice.
        facts: Further members: field, value, limit, unit.
    """
    content = {
        "type": f"urn:stylewire:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        **facts,
        "request_id": request_id,
    }
    headers = {}
    if retry_after is not None:
        # The header counts in whole seconds (RFC 9110, 10.2.3); the document has the exact time.
        content["retry_after"] = round(retry_after, 3)
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="stylewire"'
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _kind(error: ServiceError) -> str:
    """Return the last part of the problem's type, such as `queue-full` for QueueFull."""
    if isinstance(error, Refusal):
        return error.status.phrase.lower().replace(" ", "-")
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()
