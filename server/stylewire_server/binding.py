"""Where the server listens, and behind which lock."""

import ipaddress
import logging

import grpc.aio

from .settings import ServeSettings
from .tls import TlsFiles

log = logging.getLogger(__name__)


class BindError(Exception):
    """The address cannot be bound, or must not be."""


def bind(server: grpc.aio.Server, settings: ServeSettings, tls: TlsFiles | None) -> int:
    """Binds the address of the settings, and returns the port.

    Raises:
        BindError: It is taken, or not this machine's, or open to others without TLS.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.port}"
    if tls is None and not is_loopback(settings.host):
        if not settings.insecure:
            raise BindError(
                f"{address} is open to other machines, and without TLS they read every picture and token on the way; "
                "give --tls-cert and --tls-key, or --insecure where something else protects the connection"
            )
        log.warning("serving %s without TLS", address)
    try:
        bound = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls.credentials())
    except RuntimeError:
        bound = 0
    if not bound:
        raise BindError(f"cannot bind {address}: the port is taken, or the address is not this machine's")
    return bound


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. A name other than localhost may resolve to anything."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
