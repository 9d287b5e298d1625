"""Errors as HTTP answers: `application/problem+json` (RFC 9457)."""

import math
import re

import grpc
from starlette.responses import JSONResponse

from ..errors import InvalidInput, ResourceExhausted, ServiceError
from ..rpc.status import code_of

HTTP_STATUS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""The HTTP status of each gRPC status, after google.rpc.Code.

FAILED_PRECONDITION is 409 here: what stands in the way is the state of a style or its storage, not the request.
"""

_RETRY_UNAVAILABLE_SECONDS = 1.0
"""Retry-After of 503: a server that loads or drains is replaced within seconds."""


class Refusal(ServiceError):
    """A refusal that only HTTP knows, with a status of its own.

    Args:
        status: The HTTP status.
        message: What is wrong, with value, limit and unit.
        code: The gRPC status that comes nearest, for the log and the metrics.
        facts: Further members of the problem document: field, value, limit, unit.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT,
        **facts: str | int | float,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.facts = facts


def status_of(error: ServiceError) -> tuple[int, grpc.StatusCode]:
    """Return the HTTP status and the gRPC status of an error."""
    if isinstance(error, Refusal):
        return error.status, error.code
    code = code_of(error)
    return HTTP_STATUS[code], code


def problem(error: ServiceError, request_id: str) -> JSONResponse:
    """Return the answer for an error of the domain."""
    status, code = status_of(error)
    facts: dict[str, str | int | float] = {}
    match error:
        case Refusal():
            facts = dict(error.facts)
        case InvalidInput():
            facts = {"field": error.field}
            for name in ("value", "limit", "unit"):
                found = getattr(error, name, None)
                if found not in (None, ""):
                    facts[name] = found
    retry_after = error.retry_after if isinstance(error, ResourceExhausted) else None
    if retry_after is None and status == 503:
        retry_after = _RETRY_UNAVAILABLE_SECONDS
    return document(status, str(error), request_id, kind=_kind(error), code=code.name, retry_after=retry_after, **facts)


def internal(request_id: str) -> JSONResponse:
    """Return the answer for a bug. Its trace is in the log only, under the request id."""
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
    """`queue-full` for QueueFull."""
    if isinstance(error, Refusal):
        return _REFUSALS.get(error.status, "refused")
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


_REFUSALS = {
    403: "forbidden-origin",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    421: "unknown-host",
}
