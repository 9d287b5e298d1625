"""The address at which the server listens, and the rule that an address open to other machines needs TLS."""

import errno
import ipaddress
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # For type checks only: the parent of several processes reserves their port and does not need gRPC, and a probe of
    # the server's health needs no settings.
    import grpc.aio

    from ..settings import ServeSettings
    from .tls import TlsFiles

log = logging.getLogger(__name__)

_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Error numbers of a machine that has only IPv4 or only IPv6."""

UNIX = "unix:"
"""Prefix of a host that is the path of a unix socket."""

_UNIX_PATH_BYTES = 107
"""Maximum bytes in the path of a unix socket (unix(7))."""


class BindError(Exception):
    """The address cannot be bound, or must not be bound without TLS."""


def bind(server: "grpc.aio.Server", settings: "ServeSettings", tls: "TlsFiles | None") -> int:
    """Bind the address of the settings and return the port. For a unix socket gRPC gives 1.

    Raises:
        BindError: The address is taken, belongs to another machine, or is open to other machines without TLS.
    """
    address = shown(settings.host, settings.port)
    if is_unix(settings.host):
        _check_unix(settings.host)
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
        raise _refused(address)
    return bound


@contextmanager
def reserve(host: str, port: int) -> Iterator[int]:
    """Reserve an address for processes that share it by SO_REUSEPORT, and yield the port. This process does not listen.

    The socket is first bound without SO_REUSEPORT, which fails if another server has the port. Then the option is set,
    so that the processes can bind the same port. From then on the kernel refuses sockets without SO_REUSEPORT, such as
    the first socket of any other stylewire server, and sockets of other users.

    Raises:
        BindError: The address is taken or belongs to another machine, or the host has no address.
    """
    with ExitStack() as held:
        for family, address in _addresses(host, port):
            try:
                reserved = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _bind_alone(reserved, (address[0], port, *address[2:]))
            except OSError as error:
                if host == "localhost" and error.errno in _NO_SUCH_FAMILY:
                    continue
                raise _refused(shown(host, port)) from None
            port = reserved.getsockname()[1]
        yield port


def sockets(host: str, port: int, share_port: bool) -> list[socket.socket]:
    """Return one socket for every address of a host, bound to one port and not listening yet. Port 0 picks a free port.

    Raises:
        BindError: The address is taken or belongs to another machine, or the host has no address.
    """
    with ExitStack() as undo:
        bound: list[socket.socket] = []
        for family, address in _addresses(host, port):
            try:
                one = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
                if family is socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if share_port:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                one.bind((address[0], port, *address[2:]))
            except OSError as error:
                if host == "localhost" and error.errno in _NO_SUCH_FAMILY:
                    continue
                raise _refused(shown(host, port)) from None
            port = one.getsockname()[1]
            bound.append(one)
        undo.pop_all()
    return bound


def is_unix(host: str) -> bool:
    """Return True for the path of a unix socket, such as `unix:/run/stylewire.sock`."""
    return host.startswith(UNIX)


def is_local(target: str) -> bool:
    """Return True if a gRPC target, HOST:PORT or unix:PATH, is on this machine. No proxy can reach such a target."""
    host = target.removeprefix("dns:///").removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0]
    return target.startswith(("unix:", "unix-abstract:")) or is_loopback(host.strip("[]"))


def _check_unix(host: str) -> None:
    """Check that the path of a unix socket can be bound. gRPC would replace the socket of a server that listens there.

    Raises:
        BindError: The path is too long, its folder does not exist, or another server listens there.
    """
    path = host.removeprefix(UNIX)
    size = len(path.encode())
    if size > _UNIX_PATH_BYTES:
        raise BindError(f"cannot bind {host}: the path has {size} bytes; the limit is {_UNIX_PATH_BYTES} bytes")
    if not Path(path).parent.is_dir():
        raise BindError(f"cannot bind {host}: its folder does not exist")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            # There is no socket, or a server that has ended left it behind. gRPC replaces it.
            return
    raise BindError(f"cannot bind {host}: another server listens there")


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach an address. A name other than localhost may resolve to any address."""
    if host == "localhost" or is_unix(host):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind_alone(reserved: socket.socket, address: tuple[Any, ...]) -> None:
    if reserved.family is socket.AF_INET6:
        reserved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
    # Connections of a server that has just ended stay in TIME_WAIT and must not block its port.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(address)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Return the addresses that gRPC binds for a host: all of a name, and for 0.0.0.0 or :: those of both families.

    Each has the form of a socket address, whose port the caller sets.
    """
    if host == "localhost":
        return [(socket.AF_INET, ("127.0.0.1",)), (socket.AF_INET6, ("::1",))]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BindError(
            f"cannot bind {shown(host, port)}: {host!r} is neither an address nor the name of a host, "
            "and several processes share no other kind"
        ) from None
    addresses: list[tuple[socket.AddressFamily, tuple[Any, ...]]] = [
        (family, address) for family, _, _, _, address in found
    ]
    if socket.has_dualstack_ipv6() and any(address[0] in {"0.0.0.0", "::"} for _, address in addresses):  # noqa: S104
        return [(socket.AF_INET6, ("::",))]
    return addresses


def shown(host: str, port: int) -> str:
    """Return HOST:PORT as clients write it; for a unix socket the host alone."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _refused(address: str) -> BindError:
    return BindError(f"cannot bind {address}: the port is taken, or the address is not this machine's")
