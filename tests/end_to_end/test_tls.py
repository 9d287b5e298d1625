"""TLS and mTLS between a real server and real channels."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from stylewire import Client, Tls, Unavailable
from stylewire.channel import PROBE_METHOD, Connection
from stylewire_server.testing import until


def serving_name(port: int, ca: Path) -> str:
    """Common name of the certificate that the server shows to a new connection."""
    import socket
    import ssl

    from cryptography import x509

    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        certificate = x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True))
    return certificate.subject.rfc4514_string().removeprefix("CN=")


@pytest.fixture(scope="module")
def plain(start_server, authority) -> Iterator[Any]:
    """A server with a certificate, open to all addresses, which without TLS is refused."""
    certificate, key = authority.issue("server")
    running = start_server("--model", "lite", "--host", "0.0.0.0", "--tls-cert", certificate, "--tls-key", key)
    yield running
    assert running.stop() == 0
    text = "\n".join(running.log)
    assert str(certificate) not in text and str(key) not in text


@pytest.fixture(scope="module")
def mutual(request: pytest.FixtureRequest, start_server, authority) -> Iterator[Any]:
    """A server that asks for certificates of its callers; the parameter is the format of its log."""
    certificate, key = authority.issue("server")
    flags = ("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.certificate)
    running = start_server("--model", "lite", *flags, "--log-format", request.param)
    yield running
    assert running.stop() == 0


def test_a_picture_over_tls(plain, authority, photo: Path, style_picture: Path) -> None:
    target = f"localhost:{plain.port}"
    with Client(target, timeout=60, tls=Tls(ca=authority.certificate)) as client:
        assert client.stylize(photo, style_picture).size == (256, 256)
    with Client(target, timeout=60, wait_for_ready=False) as client, pytest.raises(Unavailable):
        client.model()


def test_a_server_that_an_unknown_authority_certifies_is_not_believed(plain, another_authority) -> None:
    with (
        Client(f"127.0.0.1:{plain.port}", timeout=10, tls=Tls(ca=another_authority.certificate)) as client,
        pytest.raises(Unavailable, match=r"^TLS with 127.* fails .*unable to get local issuer certificate"),
    ):
        client.model()


def test_a_refusal_by_another_address_does_not_hide_why_tls_fails(plain, authority, another_authority) -> None:
    """The server does not listen at ::1, an address of localhost. gRPC reports the address that it tried last."""
    with grpc.insecure_channel("127.0.0.1:1") as closed, pytest.raises(grpc.RpcError) as caught:
        closed.unary_unary(PROBE_METHOD)(b"", timeout=10)
    refused = caught.value
    assert "Connection refused" in refused.details()

    def telling(target: str, ca: Path) -> grpc.RpcError:
        return Connection(target, 10, Tls(ca=ca), None, True, own_channel=False).telling_error(refused)

    for target in (f"localhost:{plain.port}", f"dns:///localhost:{plain.port}"):
        assert "unable to get local issuer" in telling(target, another_authority.certificate).details()
        assert telling(target, authority.certificate) is refused
    assert telling("unix:/nowhere.sock", another_authority.certificate) is refused


def test_an_expired_server_certificate_is_not_believed(start_server, authority) -> None:
    certificate, key = authority.issue("server", days=-2, file="expired")
    running = start_server("--model", "lite", "--tls-cert", certificate, "--tls-key", key)
    try:
        with (
            Client(running.target, timeout=60, wait_for_ready=False, tls=Tls(ca=authority.certificate)) as client,
            pytest.raises(Unavailable, match="certificate has expired"),
        ):
            client.model()
    finally:
        running.stop()


@pytest.mark.parametrize("mutual", ["text"], indirect=True)
def test_the_command_line_over_mutual_tls(mutual, authority) -> None:
    mine, my_key = authority.issue("caller")
    command = [sys.executable, "-m", "stylewire", "--target", f"localhost:{mutual.port}", "--timeout", "20"]
    trusting = ["--tls-ca", str(authority.certificate)]
    own = ["--tls-cert", str(mine), "--tls-key", str(my_key)]
    done = subprocess.run([*command, *trusting, *own, "model"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "lite" in done.stdout
    refused = subprocess.run([*command, *trusting, "model"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("mutual", ["json"], indirect=True)
def test_mutual_tls_lets_in_those_that_the_ca_vouches_for(mutual, authority, another_authority) -> None:
    def model(**files: Path) -> str:
        tls = Tls(ca=authority.certificate, **files)
        with Client(f"localhost:{mutual.port}", timeout=60, wait_for_ready=False, tls=tls) as client:
            return client.model().edition

    mine = dict(zip(("certificate", "key"), authority.issue("friend"), strict=True))
    assert model(**mine) == "lite"
    until(lambda: any("cn:friend" in line for line in mutual.log), "the caller's name in the log")
    forged = dict(zip(("certificate", "key"), another_authority.issue("caller"), strict=True))
    expired = dict(zip(("certificate", "key"), authority.issue("late", days=-2), strict=True))
    for files in ({}, forged, expired):
        with pytest.raises(Unavailable):
            model(**files)
    assert model(**mine) == "lite"


@pytest.mark.parametrize("mutual", ["text", "json"], indirect=True)
def test_a_name_with_line_breaks_forges_no_line_of_the_log(mutual, authority) -> None:
    forger = authority.issue("caller\n2026-01-01 00:00:00,000 ERROR forged\r\nforged", file="forger")
    tls = Tls(ca=authority.certificate, certificate=forger[0], key=forger[1])
    with Client(f"localhost:{mutual.port}", timeout=20, tls=tls) as client:
        assert client.model().edition == "lite"
    until(lambda: any("forged" in line for line in mutual.log), "the caller's name in the log")
    (line,) = [line for line in mutual.log if "forged" in line]
    assert "GetModel" in line
    assert line.count("\\n") == 2


@pytest.mark.parametrize("how", ["changed files", "SIGHUP"])
def test_a_new_certificate_is_served_without_a_restart(start_server, authority, how: str) -> None:
    certificate, key = authority.issue("first", file="live")
    running = start_server("--model", "lite", "--tls-cert", certificate, "--tls-key", key)
    try:
        with grpc.secure_channel(
            f"localhost:{running.port}", grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        ) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
            assert serving_name(running.port, authority.certificate) == "first"
            old = certificate.stat()
            authority.issue("second", file="live")
            if how == "SIGHUP":
                # As far as the time of the files goes, nothing has happened.
                os.utime(certificate, ns=(old.st_atime_ns, old.st_mtime_ns))
                running.process.send_signal(signal.SIGHUP)
                until(lambda: any("certificates reloaded" in line for line in running.log), "the reload")
            assert serving_name(running.port, authority.certificate) == "second"
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1, "the open connection lives on"

            certificate.write_text("broken")
            running.process.send_signal(signal.SIGHUP)
            until(lambda: any("certificates not reloaded" in line for line in running.log), "the refusal")
            assert serving_name(running.port, authority.certificate) == "second"
    finally:
        assert running.stop() == 0
