"""The status of every error: one table for gRPC and HTTP.

An error that is not in the table has the status of its nearest base class that is.
"""

from http import HTTPStatus
from typing import NamedTuple

from grpc import StatusCode

from .errors import (
    DeadlinePassed,
    Draining,
    EngineFailed,
    InvalidInput,
    MethodNotServed,
    ModelNotFound,
    NotReady,
    ResourceExhausted,
    ServiceError,
    StoreFailed,
    StyleDamaged,
    StyleExists,
    StyleMismatch,
    StyleNotFound,
    Unauthenticated,
)


class Status(NamedTuple):
    """The status of a call.

    Attributes:
        grpc: The status code of gRPC, also the one of logs, metrics and traces.
        http: The status code of HTTP.
    """

    grpc: StatusCode
    http: HTTPStatus


OK = Status(StatusCode.OK, HTTPStatus.OK)

STATUSES: dict[type[ServiceError], Status] = {
    ServiceError: Status(StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR),
    InvalidInput: Status(StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST),
    StyleNotFound: Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND),
    StyleExists: Status(StatusCode.ALREADY_EXISTS, HTTPStatus.CONFLICT),
    # The state of a style is in the way, not the request, hence 409 and not the 400 of google.rpc.Code.
    StyleMismatch: Status(StatusCode.FAILED_PRECONDITION, HTTPStatus.CONFLICT),
    StyleDamaged: Status(StatusCode.DATA_LOSS, HTTPStatus.INTERNAL_SERVER_ERROR),
    # A full disk stays full until somebody frees it, so clients must not retry: never UNAVAILABLE or 503.
    StoreFailed: Status(StatusCode.FAILED_PRECONDITION, HTTPStatus.CONFLICT),
    ModelNotFound: Status(StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND),
    MethodNotServed: Status(StatusCode.UNIMPLEMENTED, HTTPStatus.NOT_IMPLEMENTED),
    Unauthenticated: Status(StatusCode.UNAUTHENTICATED, HTTPStatus.UNAUTHORIZED),
    ResourceExhausted: Status(StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
    DeadlinePassed: Status(StatusCode.DEADLINE_EXCEEDED, HTTPStatus.GATEWAY_TIMEOUT),
    Draining: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
    NotReady: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
    EngineFailed: Status(StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE),
}


def status_of(error: ServiceError) -> Status:
    """Return the status of an error, from the table or from its nearest base class there."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
