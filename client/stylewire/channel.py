"""Channels: targets, TLS, tokens, load balancing, retries and message sizes."""

import ipaddress
import json
import math
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .errors import InvalidRequest, UnusableClient

if TYPE_CHECKING:
    # It takes a third of the time of `stylewire --local`, which does not need it.
    import grpc
    import grpc.aio

    from .v1 import stylizer_pb2_grpc

DEFAULT_TARGET = "localhost:50051"

MAX_MESSAGE_BYTES = 64 * 2**20
"""Maximum bytes of one message in either direction. It is above the server's default of 40 MiB, so that the
client also works with servers that have a larger limit."""

TIMEOUT = 30.0
"""Default timeout of a call in seconds."""

PROBE_METHOD = "/grpc.health.v1.Health/Check"
"""Method without retries. After a call has waited in vain, it shows whether anything listens."""

PROBE_SECONDS = 0.2
"""Time limit for a call of `PROBE_METHOD`."""

_HANDSHAKE_SECONDS = 2.0
"""Time limit for a connection that shows why TLS fails."""

TargetLike: TypeAlias = str | Sequence[str]
"""One server, or several that share the calls: `HOST:PORT`; `dns:///NAME:PORT` for all addresses of a name;
`ipv4:A:PORT,B:PORT` or `ipv6:[A]:PORT,[B]:PORT` for several addresses; `unix:PATH`; a list of `HOST:PORT`."""


class ChannelLike(Protocol):
    """A channel of gRPC, or another one that makes calls in the same way.

    Another one may have a method `stub()`. Its result then replaces the generated stub, so that gRPC is not loaded.
    """

    def unary_unary(self, method: str) -> Callable[..., Any]:
        """Return the function that makes one call."""

    def stream_stream(self, method: str) -> Callable[..., Any]:
        """Return the function that makes one call of a stream."""

    def close(self) -> None:
        """Close the channel."""


_SERVICE = "stylewire.v1.Stylizer"

_SERVICE_CONFIG = {
    # Several addresses share the calls. An address gets no calls while its server reports that it is not serving.
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": _SERVICE},
    "methodConfig": [
        {
            "name": [{"service": _SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ],
    # A failed attempt takes one token; a call that succeeds gives half a token back. Retries stop when half of the
    # tokens are used: here after 32 failures in a row. So retries do not multiply the load of a server in trouble.
    "retryThrottling": {"maxTokens": 64, "tokenRatio": 0.5},
}
"""Load balancing, health checks and the retry policy of every channel (gRPC's service config)."""

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A call that is larger than this buffer is never tried again, and the default of 256 KiB is less than a photograph.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A server that restarts is found again within two seconds; gRPC's default goes up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass(frozen=True)
class Tls:
    """Files for a secure channel, in PEM format.

    Args:
        ca: Certificates to trust; None for those of the system.
        certificate: Client certificate, for servers that ask for one.
        key: Private key of the client certificate; give both or neither.

    Raises:
        ValueError: Only one of certificate and key is given.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            # gRPC would end the whole process in this case.
            given, missing = ("key", "certificate") if self.certificate is None else ("certificate", "key")
            raise ValueError(f"Tls has a {given} and no {missing}; the client shows both or neither")


class Connection:
    """The connection settings of `Client` and `AsyncClient`: target, timeout, TLS and token.

    The arguments are those of `Client`.

    Raises:
        InvalidRequest: The target, the timeout or the token cannot be used.
        ValueError: A channel is given together with TLS or a token.
        OSError: A file of `tls` cannot be read.
    """

    def __init__(
        self,
        target: TargetLike | None,
        timeout: float | None,
        tls: Tls | None,
        token: str | None,
        wait_for_ready: bool,
        own_channel: bool,
    ) -> None:
        target = target or default_target()
        self.target = target if isinstance(target, str) else ",".join(target)
        self.timeout = usable_timeout(timeout)
        self.wait_for_ready = wait_for_ready
        if own_channel and (tls is not None or token is not None):
            raise ValueError("a channel carries its own TLS and token; give them where it is made")
        self._uri, self._options = ("", []) if own_channel else _resolve(target, tls is not None)
        self._credentials = tls and _credentials(tls)
        bearer = None if own_channel else usable_token(token)
        # The token is metadata of each call. gRPC's call credentials refuse a plain channel, such as the one to a
        # local proxy that adds TLS.
        self._metadata = (("authorization", f"Bearer {bearer}"),) if bearer else ()
        self._process = os.getpid()
        self.closed = False

    def check_usable(self) -> None:
        """Raise UnusableClient if the client is closed, or was used before a fork."""
        if self.closed:
            raise UnusableClient("the client is closed; make a new one")
        if self._process != os.getpid():
            # gRPC's threads do not live on in the child, and a call would wait for ever.
            raise UnusableClient(
                f"the client was made in process {self._process} and cannot be used after a fork, in {os.getpid()}; "
                "make it in the child, or start processes with the method 'spawn'"
            )

    def call_options(self, timeout: float | None) -> dict[str, Any]:
        """Return the keyword arguments of a stub's method."""
        return {"timeout": timeout, "metadata": self._metadata, "wait_for_ready": self.wait_for_ready}

    def telling_error(self, error: "grpc.RpcError") -> "grpc.RpcError":
        """Return the error of a failed TLS handshake, if a refusal by another address of the same name hides it.

        gRPC reports the address that it tried last. It adds ::1 for localhost, even where the system's resolver does
        not, and a server may listen at 127.0.0.1 alone.
        """
        import grpc

        if self._credentials is None or "Connection refused" not in (error.details() or ""):
            return error
        target = self._uri.removeprefix("dns:///")
        try:
            addresses = _addresses(target)
        except (ValueError, OSError):
            # The target is of another kind.
            return error
        options = [*self._options, ("grpc.default_authority", target)]
        for scheme, address in addresses:
            with grpc.secure_channel(f"{scheme}:{address}", self._credentials, options) as channel:
                try:
                    channel.unary_unary(PROBE_METHOD)(b"", timeout=_HANDSHAKE_SECONDS)
                except grpc.RpcError as own:
                    if own.code() is grpc.StatusCode.UNAVAILABLE and "Connection refused" not in own.details():
                        return own
        return error

    def open(self) -> ChannelLike:
        """Open a channel for `Client`."""
        import grpc

        if self._credentials is None:
            return grpc.insecure_channel(self._uri, self._options)
        return grpc.secure_channel(self._uri, self._credentials, self._options)

    def open_async(self) -> "grpc.aio.Channel":
        """Open a channel for `AsyncClient`; it belongs to the running event loop."""
        import grpc.aio

        if self._credentials is None:
            return grpc.aio.insecure_channel(self._uri, self._options)
        return grpc.aio.secure_channel(self._uri, self._credentials, self._options)


def make_stub(channel: ChannelLike) -> "stylizer_pb2_grpc.StylizerStub":
    """Return the stub of a channel: its own, if it has one, else the generated stub, which loads gRPC."""
    own: Callable[[], stylizer_pb2_grpc.StylizerStub] | None = getattr(channel, "stub", None)
    if own is not None:
        return own()
    from .v1.stylizer_pb2_grpc import StylizerStub

    return StylizerStub(channel)


def default_target() -> str:
    """Return the environment variable STYLEWIRE_TARGET, else `localhost:50051`."""
    return os.environ.get("STYLEWIRE_TARGET") or DEFAULT_TARGET


def usable_token(given: str | None) -> str | None:
    """Return the token as it is sent; None if there is none.

    White space around it, such as the line break at the end of a file, is removed.

    Args:
        given: The token; None for the environment variable STYLEWIRE_TOKEN.

    Raises:
        InvalidRequest: The token has characters that a header cannot have.
    """
    token = (given or os.environ.get("STYLEWIRE_TOKEN") or "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise InvalidRequest("the token has a character that is not printable ASCII, or a space", "token")
    return token or None


def usable_timeout(seconds: float | None) -> float | None:
    """Return the timeout of a call in seconds; None for no limit, also for infinity.

    Raises:
        InvalidRequest: The timeout is not above 0.
    """
    if seconds is None or seconds == math.inf:
        return None
    if not seconds > 0:
        raise InvalidRequest(f"timeout is {seconds} s; it must be above 0 s", "timeout")
    return seconds


def _resolve(target: TargetLike, secure: bool) -> tuple[str, list[tuple[str, Any]]]:
    """Return the target for gRPC, and the options of the channel."""
    options = list(_OPTIONS)
    hosts = [target] if isinstance(target, str) else list(target)
    uri = hosts[0] if isinstance(target, str) or len(hosts) == 1 else _address_list(hosts)
    if uri != hosts[0] and secure:
        # The servers of a list show a certificate for one name, that of the first.
        options.append(("grpc.default_authority", hosts[0]))
    if all(_is_local(host) for part in hosts for host in part.split(",")):
        # A proxy in the environment cannot reach a server on this machine.
        options.append(("grpc.enable_http_proxy", 0))
    return uri, options


def _address_list(hosts: Sequence[str]) -> str:
    """Return several HOST:PORT as one target for gRPC. Names are looked up once.

    Raises:
        InvalidRequest: A target is not HOST:PORT, a name has no address, or the addresses are of two families.
    """
    found: dict[str, list[str]] = {}
    for host in hosts:
        try:
            # Take one address of each name, because each entry of a list is one server.
            scheme, address = _addresses(host)[0]
        except ValueError:
            raise InvalidRequest(f"{host!r} in the list of targets is not HOST:PORT", "target") from None
        except OSError as error:
            raise InvalidRequest(f"{host!r} in the list of targets has no address: {error}", "target") from None
        found.setdefault(scheme, []).append(address)
    if len(found) > 1:
        raise InvalidRequest("the list of targets mixes IPv4 and IPv6 addresses; give one kind", "target")
    ((scheme, addresses),) = found.items()
    return f"{scheme}:{','.join(addresses)}"


def _addresses(target: str) -> list[tuple[str, str]]:
    """Return the addresses of HOST:PORT, IPv4 first, each as a scheme of gRPC and ADDRESS:PORT.

    Raises:
        ValueError: The target is not HOST:PORT.
        OSError: The name has no address.
    """
    name, separator, port = target.rpartition(":")
    if not separator or not port.isdecimal() or "/" in name:
        raise ValueError("not HOST:PORT")
    known = socket.getaddrinfo(name.strip("[]"), int(port), type=socket.SOCK_STREAM)
    found = [
        ("ipv6", f"[{address[0]!s}]:{port}") if family == socket.AF_INET6 else ("ipv4", f"{address[0]!s}:{port}")
        for family, *_, address in known
    ]
    return sorted(found, key=lambda each: each[0])


def _is_local(target: str) -> bool:
    """Return True if a target is on this machine: a Unix socket or a loopback address."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = re.sub(r"^(ipv4|ipv6):/*|^dns:(///?[^/]*/|///|)", "", target)
    host = host if host.count(":") > 1 and "]" not in host else host.rpartition(":")[0] or host
    host = host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _credentials(tls: Tls) -> "grpc.ChannelCredentials":
    """Read the files and return gRPC's credentials."""
    import grpc

    return grpc.ssl_channel_credentials(*(_read(path) for path in (tls.ca, tls.key, tls.certificate)))


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
