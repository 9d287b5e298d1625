"""The details of an error, as gRPC carries them."""

import math

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from ..errors import InvalidInput, ResourceExhausted, ServiceError
from ..statuses import status_of

DETAILS_KEY = "grpc-status-details-bin"
"""Metadata key of a serialized google.rpc.Status (gRPC's richer error model)."""

_MAX_RETRY_SECONDS = 10.0
"""Longest wait after which gRPC's own retries try again. After a longer wait the caller gets the error."""


class LocalError(grpc.RpcError):
    """The failure of a call inside this process, with the status and the details that a server would have sent."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(str(error))
        self._error = error

    def code(self) -> grpc.StatusCode:
        """Return the status code."""
        return code_of(self._error)

    def details(self) -> str:
        """Return the error message."""
        return str(self._error)

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the details of the error."""
        return trailing_metadata(self._error)


def code_of(error: ServiceError) -> grpc.StatusCode:
    """Return the gRPC status code of an error."""
    return status_of(error).grpc


def trailing_metadata(error: ServiceError) -> tuple[tuple[str, str | bytes], ...]:
    """Return the error's details as trailing metadata; empty for an error that has none."""
    pushback: tuple[tuple[str, str], ...] = ()
    detail: error_details_pb2.BadRequest | error_details_pb2.RetryInfo
    match error:
        case InvalidInput():
            violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
            detail = error_details_pb2.BadRequest(field_violations=[violation])
        case ResourceExhausted():
            delay = duration_pb2.Duration()
            delay.FromMicroseconds(int(error.retry_after * 1e6))
            detail = error_details_pb2.RetryInfo(retry_delay=delay)
            # The same for gRPC's own retries, which do not read the details (gRFC A6).
            # A negative number stops these retries, so that the caller learns of a long wait at once.
            pause = math.ceil(error.retry_after * 1e3) if error.retry_after <= _MAX_RETRY_SECONDS else -1
            pushback = (("grpc-retry-pushback-ms", str(pause)),)
        case _:
            return ()
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(code=code_of(error).value[0], message=str(error), details=[packed])
    return ((DETAILS_KEY, status.SerializeToString()), *pushback)
