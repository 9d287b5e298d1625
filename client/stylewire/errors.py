"""The errors that a call can end in. They form one tree, so `except StylewireError` catches all of them.

    StylewireError
    ├── InvalidRequest (also a ValueError)        the request is wrong; `field` says where
    │   └── InvalidImage                          a picture cannot be used
    ├── StyleNotFound (also a LookupError)        no style has that name
    ├── StyleExists                               a style has that name already
    ├── ServerBusy                                the queue is full; `retry_after` says when to try again
    ├── DeadlineExceeded (also a TimeoutError)    no answer within the timeout
    ├── Unavailable (also a ConnectionError)      no server answers
    ├── Unauthenticated (also a PermissionError)  the token is missing or wrong
    ├── ServerError                               the server failed, or its answer is wrong
    └── UnusableClient (also a RuntimeError)      the client is closed, or belongs to another process or event loop

A file that cannot be read raises OSError, as everywhere in Python.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Loading it takes long, and errors are rare.
    import grpc
    from google.rpc import status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
"""Metadata key of a serialized google.rpc.Status (gRPC's richer error model)."""

OWN_DEADLINE = "Deadline Exceeded"
"""gRPC's own message at a deadline, if the server has sent no status."""

_NO_CONNECTION = re.compile("Connection refused|No such file or directory|Failed to connect|backends failing")
"""gRPC's message if nothing listens at an address."""


class StylewireError(Exception):
    """The root of all errors of this package."""


class InvalidRequest(StylewireError, ValueError):
    """The request is wrong.

    Attributes:
        field: The field that is wrong, such as "options.strength"; empty if it is unknown.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class InvalidImage(InvalidRequest):
    """A picture cannot be used: it is not a picture, damaged, too large or too small."""


class StyleNotFound(StylewireError, LookupError):
    """No style has that name."""


class StyleExists(StylewireError):
    """A style has that name already."""


class ServerBusy(StylewireError):
    """The server's queue is full.

    Attributes:
        retry_after: Seconds after which the server suggests to try again; None without a suggestion.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(StylewireError, TimeoutError):
    """No answer came within the timeout."""


class Unavailable(StylewireError, ConnectionError):
    """No server answers, or it is starting up or shutting down."""


class Unauthenticated(StylewireError, PermissionError):
    """The token is missing or wrong."""


class ServerError(StylewireError):
    """The server failed in another way, or its answer is not what was asked for."""


class UnusableClient(StylewireError, RuntimeError):
    """The client is closed, or belongs to another process or event loop."""


_KINDS: dict[str, type[StylewireError]] = {
    "NOT_FOUND": StyleNotFound,
    "ALREADY_EXISTS": StyleExists,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAUTHENTICATED": Unauthenticated,
}
"""Name of a status code -> the error."""


def from_rpc_error(error: "grpc.RpcError", target: str, timeout: float | None = None) -> StylewireError:
    """Return the error of this package for the failed status of a call.

    Args:
        error: The error that the call ended with.
        target: The server that was called, for messages.
        timeout: Seconds that the call had; None for no limit.
    """
    code, message = error.code().name, error.details() or ""
    if code == "INVALID_ARGUMENT":
        field = _field(_details(error)).removeprefix("setup.")
        about_image = field == "content" or (field.startswith("styles[") and not field.endswith("weight"))
        return (InvalidImage if about_image else InvalidRequest)(message, field)
    if too_large := _too_large(message):
        return InvalidRequest(too_large)
    if code == "RESOURCE_EXHAUSTED":
        return ServerBusy(message, _retry_after(_details(error)))
    # gRPC itself cancels calls that arrive while a server closes.
    if code in {"UNAVAILABLE", "CANCELLED"}:
        return Unavailable(_no_server(target, message) if _NO_CONNECTION.search(message) else f"{target}: {message}")
    if message.startswith(OWN_DEADLINE) and timeout is not None:
        message = f"no answer from {target} within {timeout:g} s"
    if code in _KINDS:
        return _KINDS[code](message)
    return ServerError(f"{code}: {message}")


def _too_large(message: str) -> str | None:
    """Return a message if gRPC or a proxy refused a request for its size; None for other reasons."""
    if "larger than max" in message:
        return f"the message is too large: {message}"
    if "http2 header with status: 413" in message:
        # gRPC's message for an HTTP answer. Only a proxy gives such an answer.
        return (
            "a proxy before the server refused the request as too large (HTTP 413); raise the proxy's limit "
            "(client_max_body_size of nginx is 1 MB by default), or send smaller pictures"
        )
    return None


def rpc_error() -> "type[grpc.RpcError]":
    """Return the type of a call's failure, for `except rpc_error()`. gRPC is not loaded before the first failure."""
    import grpc

    return grpc.RpcError


def is_own_deadline(error: "grpc.RpcError") -> bool:
    """Return True if a call ended at its deadline without a status of the server."""
    return error.code().name == "DEADLINE_EXCEEDED" and (error.details() or "").startswith(OWN_DEADLINE)


def waited_in_vain(target: str, probe: "grpc.RpcError", timeout: float | None) -> StylewireError | None:
    """Return the error of a call that waited for a server until its deadline.

    Args:
        target: The server that was called.
        probe: The error of a second call, which does not wait for a server.
        timeout: Seconds that the first call had.

    Returns:
        None where the server can be reached, so that it is just slow.
    """
    if probe.code().name != "UNAVAILABLE":
        return None
    waited = "" if timeout is None else f" within {timeout:g} s"
    return Unavailable(_no_server(f"{target}{waited}", probe.details() or ""))


def _no_server(target: str, reason: str) -> str:
    if "handshake failed" in reason:
        return f"TLS with {target} fails ({reason})"
    return f"no server answers at {target} ({reason}); to start one: stylewire-server serve"


def _details(error: "grpc.RpcError") -> "status_pb2.Status":
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                status.ParseFromString(value)
            except DecodeError:
                break
    return status


def _field(status: "status_pb2.Status") -> str:
    from google.rpc import error_details_pb2

    request = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(request) and request.field_violations:
            return request.field_violations[0].field
    return ""


def _retry_after(status: "status_pb2.Status") -> float | None:
    from google.rpc import error_details_pb2

    info = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.retry_delay.ToMicroseconds() / 1e6
    return None
