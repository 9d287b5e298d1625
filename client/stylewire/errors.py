"""The errors that a call can end in: one tree, made from gRPC's statuses."""

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"

_OWN_DEADLINE = "Deadline Exceeded"
"""What gRPC says where the server has said nothing."""


class StylewireError(Exception):
    """The root of every error of this package."""


class InvalidRequest(StylewireError, ValueError):
    """The request is wrong.

    Attributes:
        field: What is wrong with it, as `options.strength`; empty where the server did not say.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidImage(InvalidRequest):
    """A picture cannot be used: not a picture, damaged, too large, too small."""


class StyleNotFound(StylewireError, LookupError):
    """No style is kept under that name."""


class StyleExists(StylewireError):
    """A style of that name is kept already."""


class ServerBusy(StylewireError):
    """The server's queue is full.

    Attributes:
        retry_after: Seconds after which the server suggests to try again; None where it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(StylewireError, TimeoutError):
    """No answer within the timeout."""


class Unavailable(StylewireError, ConnectionError):
    """No server answers there, or it is starting up or shutting down."""


class Unauthenticated(StylewireError, PermissionError):
    """The token is missing or wrong."""


class ServerError(StylewireError):
    """Anything else that the server reported."""


_KINDS: dict[grpc.StatusCode, type[StylewireError]] = {
    grpc.StatusCode.NOT_FOUND: StyleNotFound,
    grpc.StatusCode.ALREADY_EXISTS: StyleExists,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}


def from_rpc_error(error: grpc.RpcError, target: str, timeout: float | None = None) -> StylewireError:
    """The error of this package that stands for a call's failed status.

    Args:
        error: What the call ended in.
        target: HOST:PORT that was called.
        timeout: Seconds that the call had; None for no limit.
    """
    code, message = error.code(), error.details() or ""
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        field = _field(_details(error)).removeprefix("setup.")
        of_image = field == "content" or (field.startswith("styles[") and not field.endswith("weight"))
        return (InvalidImage if of_image else InvalidRequest)(message, field)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # What gRPC itself says of a message over a limit.
        if "larger than max" in message:
            return InvalidRequest(f"the message is too large: {message}")
        return ServerBusy(message, _retry_after(_details(error)))
    # gRPC itself cancels what comes in at the moment that a server closes.
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return Unavailable(f"{target}: {message}")
    if message == _OWN_DEADLINE and timeout is not None:
        message = f"no answer from {target} within {timeout:g} s"
    if code in _KINDS:
        return _KINDS[code](message)
    return ServerError(f"{code.name}: {message}")


def _details(error: grpc.RpcError) -> status_pb2.Status:
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                status.ParseFromString(value)
            except DecodeError:
                break
    return status


def _field(status: status_pb2.Status) -> str:
    request = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(request) and request.field_violations:
            return request.field_violations[0].field
    return ""


def _retry_after(status: status_pb2.Status) -> float | None:
    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.retry_delay.ToMicroseconds() / 1e6
    return None
