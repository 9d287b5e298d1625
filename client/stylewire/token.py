"""The bearer token that goes with every call."""

from collections.abc import Callable
from dataclasses import dataclass
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


def async_bearers(token: str) -> list[grpc.aio.ClientInterceptor]:
    """The same for a channel of asyncio, which sorts each interceptor under one kind of call."""
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


@dataclass(frozen=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str | bytes]]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


def _with(details: Any, entry: tuple[str, str]) -> grpc.ClientCallDetails:
    return _Details(
        details.method,
        details.timeout,
        [*(details.metadata or ()), entry],
        details.credentials,
        details.wait_for_ready,
        details.compression,
    )


def _with_aio(details: grpc.aio.ClientCallDetails, entry: tuple[str, str]) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), entry)
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )
