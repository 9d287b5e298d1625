"""Channels: where to connect, how large a message may be, what is tried again."""

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from .errors import InvalidRequest

DEFAULT_TARGET = "localhost:50051"

MAX_MESSAGE_BYTES = 64 * 2**20
"""Bytes of one message, either way; the server's default."""

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "stylewire.v1.Stylizer"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A call larger than this buffer is never tried again, and the default of 256 KiB is less than a photograph.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


@dataclass(frozen=True)
class Tls:
    """Files for a secure channel, in PEM.

    Args:
        ca: Certificates to trust; None for the system's.
        certificate: The client's own, for servers that ask for one.
        key: Its private key; both or neither.

    Raises:
        ValueError: One without the other.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            # gRPC would end the whole process.
            given, missing = ("key", "certificate") if self.certificate is None else ("certificate", "key")
            raise ValueError(f"Tls has a {given} and no {missing}; the client shows both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC makes of them."""
        return grpc.ssl_channel_credentials(*(_read(path) for path in (self.ca, self.key, self.certificate)))


def default_target() -> str:
    """HOST:PORT from the environment variable STYLEWIRE_TARGET, else localhost:50051."""
    return os.environ.get("STYLEWIRE_TARGET") or DEFAULT_TARGET


def usable_token(given: str | None) -> str | None:
    """The token as it travels: the one given, else that of the environment variable STYLEWIRE_TOKEN; None for none.

    White space around it, as the last line of a file has it, is not part of it.

    Raises:
        InvalidRequest: It has characters that no header carries.
    """
    token = (given or os.environ.get("STYLEWIRE_TOKEN") or "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise InvalidRequest("the token has a character that is not printable ASCII, or a space", "token")
    return token or None


def check_own_channel(tls: Tls | None, token: str | None) -> None:
    """Raises ValueError where a client shall use a channel that was made elsewhere, and secure it too."""
    if tls is not None or token is not None:
        raise ValueError("a channel carries its own TLS and token; give them where it is made")


def usable_timeout(seconds: float | None) -> float | None:
    """Seconds that a call may take; None, and infinity, for no limit.

    Raises:
        InvalidRequest: Not above 0.
    """
    if seconds is None or seconds == math.inf:
        return None
    if not seconds > 0:
        raise InvalidRequest(f"timeout is {seconds} s; it must be above 0 s", "timeout")
    return seconds


def open_channel(target: str, credentials: grpc.ChannelCredentials | None, token: str | None) -> grpc.Channel:
    """A channel for `Client`; the token goes with every call."""
    if credentials is None:
        channel = grpc.insecure_channel(target, _OPTIONS)
    else:
        channel = grpc.secure_channel(target, credentials, _OPTIONS)
    return grpc.intercept_channel(channel, Bearer(token)) if token else channel


def open_async_channel(target: str, credentials: grpc.ChannelCredentials | None, token: str | None) -> grpc.aio.Channel:
    """A channel for `AsyncClient`, of the event loop that runs; the token goes with every call."""
    bearers = async_bearers(token) if token else []
    if credentials is None:
        return grpc.aio.insecure_channel(target, _OPTIONS, interceptors=bearers)
    return grpc.aio.secure_channel(target, credentials, _OPTIONS, interceptors=bearers)


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


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
