"""Errors of a call. `statuses` has the gRPC and HTTP status of each error.

    ServiceError
    ├── InvalidInput
    ├── StyleNotFound, StyleExists, StyleMismatch, StyleDamaged
    ├── StoreFailed
    ├── ModelNotFound, MethodNotServed
    ├── Unauthenticated
    ├── ResourceExhausted
    │   ├── QueueFull
    │   ├── RateLimited
    │   ├── TooManyOpenCalls
    │   └── MemoryFull
    ├── DeadlinePassed
    ├── Draining, NotReady, EngineFailed

Messages reach the caller unchanged. They name the value, the limit and the unit. They never name a local path, and
they show at most the beginning of a caller's own text (`shortened`).
"""

import copyreg
from typing import Any

_MAX_MESSAGE_BYTES = 1000
"""Maximum bytes of a message. Headers carry it three times and encoded, and every client accepts 8 kB of headers."""

_MAX_SHOWN = 64
"""Maximum characters of a caller's own text in a message."""


def shortened(text: object, limit: int = _MAX_SHOWN) -> str:
    """Return a caller's value for a message: quoted where it is text, and cut after `limit` characters."""
    if isinstance(text, str):
        return repr(text) if len(text) <= limit else f"{text[:limit]!r}… ({len(text):,} characters)"
    shown = str(text)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


class ServiceError(Exception):
    """Base class of every error that a caller sees."""

    def __init__(self, message: str) -> None:
        encoded = message[: _MAX_MESSAGE_BYTES + 1].encode("utf-8", "replace")
        cut = f"{encoded[:_MAX_MESSAGE_BYTES].decode('utf-8', 'ignore')}…"
        super().__init__(message if len(encoded) <= _MAX_MESSAGE_BYTES else cut)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling `__init__`, whose arguments differ from class to class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InvalidInput(ServiceError):
    """The request is wrong.

    Args:
        field: Path of the wrong field in the request, such as `styles[1].weight`.
        message: What is wrong with it, with value, limit and unit.
        value, limit, unit: The same facts for programs, if one number is beyond one limit.
    """

    def __init__(
        self,
        field: str,
        message: str,
        *,
        value: float | None = None,
        limit: float | None = None,
        unit: str = "",
    ) -> None:
        super().__init__(message)
        self.field = field
        self.value = value
        self.limit = limit
        self.unit = unit


class StyleNotFound(ServiceError):
    """No style has this name."""


class StyleExists(ServiceError):
    """A style has this name already."""


class StyleMismatch(ServiceError):
    """The style was made by another network: another edition, or other weights of the same edition."""


class StyleDamaged(ServiceError):
    """The file of a style cannot be read."""


class StoreFailed(ServiceError):
    """The storage of the named styles cannot be read or written."""


class ResourceExhausted(ServiceError):
    """A limit is reached; the caller may try again in `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(ResourceExhausted):
    """No more calls may wait."""


class RateLimited(ResourceExhausted):
    """The account has used up its rate, or an address has sent too many wrong tokens."""


class TooManyOpenCalls(ResourceExhausted):
    """No more calls or streams may be open."""


class MemoryFull(ResourceExhausted):
    """Requests and answers hold the maximum number of bytes."""


class Unauthenticated(ServiceError):
    """The token is missing or wrong."""


class ModelNotFound(ServiceError):
    """No model is served under this name and version."""


class MethodNotServed(ServiceError):
    """The method belongs to the contract, and this server does not serve it."""


class DeadlinePassed(ServiceError):
    """The call's deadline has passed, or cannot be met."""


class Draining(ServiceError):
    """The server is shutting down and takes no new calls."""


class NotReady(ServiceError):
    """The server has started, and its model is still loading."""


class EngineFailed(ServiceError):
    """The engine has crashed; the server is about to end."""
