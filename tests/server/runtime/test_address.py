"""Addresses that may be served without TLS, and exclusive use of a port."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stylewire import Client
from stylewire_server.runtime.address import BindError, is_local, is_loopback, reserve


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.168.1.1", "example.org", "127.0.0.1.example.org"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def serve(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_an_open_address_without_tls_is_refused() -> None:
    done = serve("--host", "0.0.0.0")
    assert done.returncode == 1
    assert "give --tls-cert and --tls-key, or --insecure" in done.stderr
    assert "serving on" not in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-cert", "x"], "--tls-cert and --tls-key come together"),
        (["--tls-client-ca", "x"], "--tls-client-ca needs --tls-cert and --tls-key"),
    ],
)
def test_half_of_the_tls_flags_is_refused(flags: list[str], message: str) -> None:
    done = serve(*flags)
    assert done.returncode == 2
    assert message in done.stderr


HOSTS = ["127.0.0.1", "localhost", "0.0.0.0"]


def listen(port: int, shared: bool) -> socket.socket:
    """Listen at 127.0.0.1, as gRPC does."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    try:
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


@pytest.mark.parametrize("host", HOSTS)
def test_a_reserved_port_is_for_those_who_share_it(host: str) -> None:
    with reserve(host, 0) as port, listen(port, shared=True), listen(port, shared=True):
        with pytest.raises(OSError, match="in use"):
            listen(port, shared=False)
        with socket.create_connection(("127.0.0.1", port), 5):
            pass


@pytest.mark.parametrize("host", HOSTS)
def test_a_port_is_reserved_once(host: str) -> None:
    """Before anybody listens, too."""
    with reserve(host, 0) as port, pytest.raises(BindError, match="the port is taken"), reserve(host, port):
        pass


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("shared", [True, False])
def test_a_port_where_others_listen_is_not_reserved(host: str, shared: bool) -> None:
    with listen(0, shared) as other:
        port = other.getsockname()[1]
        with pytest.raises(BindError, match=f"cannot bind {host}:{port}"), reserve(host, port):
            pass


def test_a_port_is_free_again_while_old_connections_linger() -> None:
    with (
        reserve("127.0.0.1", 0) as port,
        listen(port, shared=True) as server,
        socket.create_connection(("127.0.0.1", port), 5) as caller,
    ):
        accepted, _ = server.accept()
        accepted.close()
        assert caller.recv(1) == b""
    with reserve("127.0.0.1", port) as again:
        assert again == port


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("[::1]:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("dns:///localhost:50051", True),
        ("unix:/run/stylewire.sock", True),
        ("example.org:50051", False),
        ("10.0.0.1:50051", False),
    ],
)
def test_which_targets_need_no_proxy(target: str, local: bool) -> None:
    assert is_local(target) is local


def health(target: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stylewire_server", "health", "--target", target]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **env})


def test_a_unix_socket_serves_and_is_replaced_after_a_kill(start_server, tmp_path: Path, photo: Path) -> None:
    target = f"unix:{tmp_path}/stylewire.sock"
    for number in (signal.SIGKILL, signal.SIGTERM):
        running = start_server("--model", "lite", "--host", target)
        assert running.target == target
        with Client(target, timeout=60) as client:
            assert client.stylize(photo, photo).size == (256, 256)
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
        assert health(target, **proxies).stdout == "SERVING\n"
        second = serve("--model", "lite", "--host", target)
        assert second.returncode == 1
        assert "another server listens there" in second.stderr
        assert running.stop(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)


def test_health_of_a_loopback_address_uses_no_proxy(server) -> None:
    done = health(server.target, http_proxy="http://127.0.0.1:9", grpc_proxy="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (0, "SERVING\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--host", "unix:/" + 120 * "x"], "the limit is 107 bytes"),
        (["--host", "unix:/no/such/folder/socket"], "its folder does not exist"),
        (["--host", "unix:/tmp/x", "--processes", "2"], "several processes cannot share a unix socket"),
        (["--host", "unix:/tmp/x", "--http-port", "0"], "--http-port needs an address"),
    ],
)
def test_a_unix_socket_that_cannot_be_had_is_refused(flags: list[str], message: str) -> None:
    done = serve(*flags)
    assert done.returncode in {1, 2}
    assert message in done.stderr
