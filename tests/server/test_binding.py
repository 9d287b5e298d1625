"""Which addresses may be served without TLS."""

import subprocess
import sys

import pytest
from stylewire_server.binding import is_loopback


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
