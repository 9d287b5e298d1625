"""Channels: where to connect, how large a message may be, what is tried again."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from .token import AsyncBearer, Bearer

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
        key: Its private key.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC makes of them."""
        return grpc.ssl_channel_credentials(*(_read(path) for path in (self.ca, self.key, self.certificate)))


def default_target() -> str:
    """HOST:PORT from the environment variable STYLEWIRE_TARGET, else localhost:50051."""
    return os.environ.get("STYLEWIRE_TARGET") or DEFAULT_TARGET


def default_token() -> str | None:
    """The token from the environment variable STYLEWIRE_TOKEN."""
    return os.environ.get("STYLEWIRE_TOKEN") or None


def open_channel(target: str, tls: Tls | None, token: str | None = None) -> grpc.Channel:
    """A channel for `Client`; the token, else that of the environment, goes with every call."""
    if tls is None:
        channel = grpc.insecure_channel(target, _OPTIONS)
    else:
        channel = grpc.secure_channel(target, tls.credentials(), _OPTIONS)
    token = token or default_token()
    return grpc.intercept_channel(channel, Bearer(token)) if token else channel


def open_async_channel(target: str, tls: Tls | None, token: str | None = None) -> grpc.aio.Channel:
    """A channel for `AsyncClient`; the token, else that of the environment, goes with every call."""
    token = token or default_token()
    bearers = AsyncBearer.all(token) if token else []
    if tls is None:
        return grpc.aio.insecure_channel(target, _OPTIONS, interceptors=bearers)
    return grpc.aio.secure_channel(target, tls.credentials(), _OPTIONS, interceptors=bearers)


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
