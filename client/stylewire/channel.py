"""Channels: where to connect, how large a message may be, what is tried again."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

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


def open_channel(target: str, tls: Tls | None) -> grpc.Channel:
    """A channel for `Client`."""
    if tls is None:
        return grpc.insecure_channel(target, _OPTIONS)
    return grpc.secure_channel(target, tls.credentials(), _OPTIONS)


def open_async_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel for `AsyncClient`."""
    if tls is None:
        return grpc.aio.insecure_channel(target, _OPTIONS)
    return grpc.aio.secure_channel(target, tls.credentials(), _OPTIONS)


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
