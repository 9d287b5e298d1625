"""The bearer token that goes with every call."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

KEY = "authorization"


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the token to every call of a channel, plain or secure.

    gRPC's own call credentials would refuse a plain channel, and so a server behind a proxy that ends TLS.
    """

    def __init__(self, token: str) -> None:
        self._entry = (KEY, f"Bearer {token}")

    def intercept_unary_unary(self, continuation: Callable, client_call_details: Any, request: Any) -> Any:
        """See `grpc.UnaryUnaryClientInterceptor`."""
        return continuation(_with(client_call_details, self._entry), request)

    def intercept_stream_stream(self, continuation: Callable, client_call_details: Any, request_iterator: Any) -> Any:
        """See `grpc.StreamStreamClientInterceptor`."""
        return continuation(_with(client_call_details, self._entry), request_iterator)


class AsyncBearer:
    """The same for asyncio, which sorts each interceptor under one kind of call."""

    @staticmethod
    def all(token: str) -> list[grpc.aio.ClientInterceptor]:
        """The interceptors of a channel."""
        entry = (KEY, f"Bearer {token}")
        return [_AsyncUnary(entry), _AsyncStream(entry)]


class _AsyncUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, entry: tuple[str, str]) -> None:
        self._entry = entry

    async def intercept_unary_unary(self, continuation: Callable, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_aio(client_call_details, self._entry), request)


class _AsyncStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, entry: tuple[str, str]) -> None:
        self._entry = entry

    async def intercept_stream_stream(
        self, continuation: Callable, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return await continuation(_with_aio(client_call_details, self._entry), request_iterator)


_FIELDS = ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")


class _Details(namedtuple("_Details", _FIELDS), grpc.ClientCallDetails):
    pass


def _with(details: Any, entry: tuple[str, str]) -> grpc.ClientCallDetails:
    values = {name: getattr(details, name, None) for name in _FIELDS}
    return _Details(**values | {"metadata": [*(details.metadata or ()), entry]})


def _with_aio(details: grpc.aio.ClientCallDetails, entry: tuple[str, str]) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), entry)
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
