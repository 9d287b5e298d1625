"""What can go wrong with a call, in the words of the domain; `rpc.status` gives each its gRPC status.

Messages reach the caller as they are: they name the value, the limit and the unit, and never a local path.
"""

_LONGEST = 1000
"""Bytes of a message. It travels in headers, three times and encoded, and 8 kB of them are what every client takes."""


class ServiceError(Exception):
    """The root of everything that a caller is told."""

    def __init__(self, message: str) -> None:
        encoded = message.encode("utf-8", "replace")
        super().__init__(message if len(encoded) <= _LONGEST else f"{encoded[:_LONGEST].decode('utf-8', 'ignore')}…")


class InvalidInput(ServiceError):
    """The request itself is wrong.

    Args:
        field: Path of the offending field in the request, as `styles[1].weight`.
        message: What is wrong with it, with value, limit and unit.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class StyleNotFound(ServiceError):
    """No style is kept under that name."""


class StyleExists(ServiceError):
    """A style is kept under that name already."""


class StyleMismatch(ServiceError):
    """The style was made by another network: another edition, or other weights of the same."""


class StyleDamaged(ServiceError):
    """The file of a style does not read."""


class StoreFailed(ServiceError):
    """The storage of the named styles cannot be read or written."""


class Exhausted(ServiceError):
    """Too much at one time; come back in `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Exhausted):
    """No more calls may wait."""


class RateLimited(Exhausted):
    """The token's rate is used up."""


class TooMany(Exhausted):
    """No more calls or streams may be open."""


class Unauthenticated(ServiceError):
    """The token is missing or wrong."""


class ModelNotFound(ServiceError):
    """No model is served under that name and version."""


class DeadlinePassed(ServiceError):
    """The call's deadline has passed, or cannot be met."""


class Draining(ServiceError):
    """The server is shutting down and takes no new calls."""


class NotReady(ServiceError):
    """The server has started, and its model is still loading."""


class EngineFailed(ServiceError):
    """The engine has crashed; the server is about to end."""
