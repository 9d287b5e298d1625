"""Security of the HTTP port: names, sites, tokens, uploads, slow and absent callers, TLS, drain, processes."""

import asyncio
import http.client as http_client
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stylewire import Client
from stylewire_server.admission.tokens import new_token
from stylewire_server.testing import ServerProcess, running_server, until

ROOT = Path(__file__).resolve().parents[2]
STYLES = ROOT / "examples" / "style"
FLAGS = ("--model", "lite", "--http-port", "0", "--styles", STYLES)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A photograph that takes seconds at full size."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    with Image.open(ROOT / "examples" / "content" / "coffee.jpg") as image:
        image.resize((2400, 1600)).save(path, quality=90)
    return path.read_bytes()


def raw(server: ServerProcess) -> socket.socket:
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def answer_of(connection: socket.socket) -> bytes:
    """The first answer on a connection, with its body if it is a problem document."""
    found = b""
    while b"\r\n\r\n" not in found or (b"problem+json" in found and not found.endswith(b"}")):
        chunk = connection.recv(65536)
        if not chunk:
            break
        found += chunk
    return found


def logged(server: ServerProcess, text: str) -> bool:
    """Wait until the log has that text."""
    return until(lambda: any(text in line for line in list(server.log)), f"the log has {text!r}")


def metrics_of(server: ServerProcess) -> str:
    return next(line for line in server.log if "metrics on " in line).partition("metrics on ")[2]


# Names and sites


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::1", "local host"]
)
def test_a_name_that_is_not_the_servers_is_refused(http: Any, host: str) -> None:
    """DNS rebinding: a site's own name may lead to this machine."""
    for path in ("/v1/model", "/", "/web/main.js"):
        answer = http("GET", path, headers={"Host": host})
        assert (answer.status, answer.json["field"]) == (421, "host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "10.0.0.7:80", "[::1]:8080"])
def test_addresses_and_localhost_are_the_servers(http: Any, host: str) -> None:
    assert http("GET", "/v1/model", headers={"Host": host}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_a_page_of_another_site_changes_nothing(http: Any, style_picture: Path, origin: str) -> None:
    fields = [("name", "planted"), ("style", style_picture.read_bytes())]
    answer = http("POST", "/v1/styles", fields, {"Origin": origin})
    assert (answer.status, answer.json["field"]) == (403, "origin")
    assert http("DELETE", "/v1/styles/waves", headers={"Origin": origin}).status == 403
    assert http("GET", "/v1/styles/planted").status == 404
    assert http("GET", "/v1/styles/waves").status == 200


def test_a_page_of_another_site_reads_nothing(http: Any) -> None:
    answer = http("GET", "/v1/styles", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    preflight = http(
        "OPTIONS",
        "/v1/stylize",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in preflight.headers


def test_the_page_itself_may_call(http: Any, photo: Path) -> None:
    own = {"Origin": http.url.rstrip("/")}
    fields = [("content", photo.read_bytes()), ("style", "waves")]
    assert http("POST", "/v1/stylize", fields, own).status == 200


def test_sites_and_names_that_are_allowed(photo: Path, open_http: Any) -> None:
    allowed = "https://app.example"
    with running_server(
        *FLAGS, "--http-origins", f"{allowed}, https://b.example", "--http-hosts", "pictures.lan"
    ) as it:
        http = open_http(it.url)
        assert http("GET", "/v1/model", headers={"Host": "pictures.lan:8080"}).status == 200
        assert http("GET", "/v1/model", headers={"Host": "other.lan"}).status == 421
        preflight = http(
            "OPTIONS",
            "/v1/stylize",
            headers={
                "Origin": allowed,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert preflight.status == 200
        assert preflight.headers["access-control-allow-origin"] == allowed
        fields = [("content", photo.read_bytes()), ("style", "waves")]
        answer = http("POST", "/v1/stylize", fields, {"Origin": allowed})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, allowed)
        assert "Server-Timing" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        foreign = http("POST", "/v1/stylize", fields, {"Origin": "https://evil.example"})
        assert foreign.status == 403
        assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("path", ["/", "/web/main.js", "/v1/model", "/v1/styles/none", "/nothing", "/healthz"])
def test_every_answer_has_the_headers(http: Any, path: str) -> None:
    headers = http("GET", path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/web/../settings.py", "/web/%2e%2e/settings.py", "/web/..%2fsettings.py", "/web/"])
def test_only_the_pages_files_are_served(http: Any, path: str) -> None:
    assert http("GET", path).status == 404


# Tokens and shared limits


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str, str]]:
    """A server with two tokens: that of alice, and that of bob with one call in a hundred seconds."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    (alice, first), (bob, second) = new_token("alice"), new_token("bob", 0.01)
    file.write_text(f"{first}\n{second}\n")
    with running_server(*FLAGS, "--tokens", file) as server:
        yield server, alice, bob


def test_a_token_opens_the_api_and_health_needs_none(guarded: Any, open_http: Any, photo: Path) -> None:
    server, alice, _ = guarded
    http = open_http(server.url)
    fields = [("content", photo.read_bytes()), ("style", "waves")]
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": alice}, {"Authorization": "Basic YTpi"}):
        answer = http("DELETE", "/v1/styles/waves", headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert http("POST", "/v1/stylize", fields, headers).status == 401
    for path in ("/v1/model", "/v1/styles", "/v1/styles/waves", "/v1/styles/waves/thumbnail"):
        assert http("GET", path).status == 401
    # As many wrong tokens as somebody sends who guesses.
    guesses = [http("GET", "/v1/model", headers={"Authorization": f"Bearer {each}"}) for each in range(110)]
    assert guesses[-1].status == 429
    assert "too many wrong tokens" in guesses[-1].json["detail"]
    answer = http("POST", "/v1/stylize", fields, {"Authorization": f"Bearer {alice}"})
    assert answer.status == 200
    assert logged(server, "caller=alice")
    for path in ("/healthz", "/readyz", "/", "/web/main.js", "/openapi.json"):
        assert http("GET", path).status == 200


def test_a_rate_that_is_used_up_says_when_to_come_back(guarded: Any, open_http: Any) -> None:
    server, _, bob = guarded
    http = open_http(server.url)
    with Client(server.target, token=bob) as client:
        client.model()
    # One admission: the call over gRPC has used the rate up.
    answer = http("GET", "/v1/model", headers={"Authorization": f"Bearer {bob}"})
    assert (answer.status, answer.json["type"]) == (429, "urn:stylewire:problem:rate-limited")
    assert 90 <= int(answer.headers["retry-after"]) <= 101
    assert 90 <= answer.json["retry_after"] <= 101


def test_open_calls_are_counted_over_both(open_http: Any, large: bytes) -> None:
    with running_server(*FLAGS, "--max-calls", "1") as server, Client(server.target, timeout=120) as client:
        http = open_http(server.url)
        call = threading.Thread(target=lambda: client.stylize(large, "waves", fit="native"))
        call.start()
        try:
            for _ in range(200):
                answer = http("GET", "/v1/model")
                if answer.status == 429:
                    break
            assert answer.json["type"] == "urn:stylewire:problem:too-many-open-calls"
            assert "the limit is 1 calls" in answer.json["detail"]
            assert answer.headers["retry-after"] == "1"
        finally:
            call.join()


# Uploads


def head(length: str, *more: str) -> bytes:
    lines = ["POST /v1/stylize HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=b", length]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def test_a_body_that_is_too_long_is_refused_before_it_is_read(http_server: ServerProcess) -> None:
    with raw(http_server) as connection:
        connection.sendall(head("Content-Length: 67108865"))
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"67,108,865 bytes or more; the limit is 41,943,040 bytes" in answer


def test_expect_is_answered_before_the_body(http_server: ServerProcess) -> None:
    with raw(http_server) as connection:
        connection.sendall(head("Content-Length: 67108865", "Expect: 100-continue"))
        assert answer_of(connection).startswith(b"HTTP/1.1 413")
    with raw(http_server) as connection:
        connection.sendall(head("Content-Length: 5", "Expect: 100-continue"))
        assert answer_of(connection).startswith(b"HTTP/1.1 100")
        connection.sendall(b"--b--")
        assert answer_of(connection).startswith(b"HTTP/1.1 400")


def test_a_body_without_a_length_is_counted(open_http: Any) -> None:
    with running_server(*FLAGS, "--max-message-bytes", "100000") as server:
        part = b'--b\r\nContent-Disposition: form-data; name="content"; filename="a"\r\n\r\n'
        with raw(server) as connection:
            connection.sendall(head("Transfer-Encoding: chunked"))
            for chunk in (part, *[bytes(8192)] * 13):
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            assert answer_of(connection).startswith(b"HTTP/1.1 413")
        assert open_http(server.url)("GET", "/readyz").status == 200


def test_fields_are_bounded(http: Any, photo: Path) -> None:
    content = ("content", photo.read_bytes())
    long = http.stylize(content, ("style", "w" * 2000))
    assert (long.status, "the form cannot be read" in long.json["detail"]) == (400, True)
    many = http.stylize(content, *[("weight", "1")] * 100, ("style", "waves"))
    assert (many.status, "the form cannot be read: too many fields" in many.json["detail"]) == (400, True)


def test_bytes_that_are_no_request(http_server: ServerProcess, http: Any) -> None:
    for sent in (
        b"\x16\x03\x01\x00\xa5\x01\x00",
        b"GET / HTTP/9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(70_000),
    ):
        with raw(http_server) as connection:
            connection.sendall(sent + b"\r\n\r\n")
            assert not answer_of(connection).startswith(b"HTTP/1.1 200")
    assert http("GET", "/readyz").status == 200


def test_a_connection_that_sends_no_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that sends the head of a request byte by byte is closed too."""
    from starlette.responses import PlainTextResponse
    from stylewire_server.http import server

    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.5)

    async def closed_after(sent: bytes) -> bool:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        listener = server.HttpListener(PlainTextResponse("here"), [bound], None)
        port = bound.getsockname()[1]
        await listener.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for byte in sent:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)
                if reader.at_eof():
                    break
            async with asyncio.timeout(10):
                closed = await reader.read() == b""
            writer.close()
            return closed
        finally:
            await listener.stop()

    assert asyncio.run(closed_after(b""))
    assert asyncio.run(closed_after(b"GET / HTTP/1.1\r\nHost: localhost\r\n"))


def test_a_caller_that_goes_away_cancels_its_job(
    http_server: ServerProcess, open_http: Any, large: bytes, calls_begun: Any
) -> None:
    body, media_type = open_http.form([("content", large), ("style", "waves"), ("fit", "native")])
    before = sum("method=Stylize code=CANCELLED" in line for line in http_server.log)
    metrics = metrics_of(http_server)
    begun = calls_begun(metrics)
    with raw(http_server) as connection:
        connection.sendall(
            f"POST /v1/stylize HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: gone-1\r\nContent-Type: {media_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        until(lambda: calls_begun(metrics) > begun, "the call has begun")
    assert logged(http_server, "request_id=gone-1")
    assert sum("method=Stylize code=CANCELLED" in line for line in http_server.log) == before + 1
    assert not any("Traceback" in line for line in http_server.log)


# TLS, drain, processes, what may not start


def test_tls_and_a_certificate_that_is_replaced(authority: Any, open_http: Any) -> None:
    certificate, key = authority.issue("first", file="server")
    flags = ("--tls-cert", certificate, "--tls-key", key)
    trusted = ssl.create_default_context(cafile=str(authority.certificate))

    def serial(url: str) -> int:
        host, port = url.removeprefix("https://").rstrip("/").split(":")
        with (
            socket.create_connection((host, int(port))) as plain,
            trusted.wrap_socket(plain, server_hostname=host) as it,
        ):
            return it.getpeercert()["serialNumber"]

    with running_server(*FLAGS, *flags) as server:
        assert server.url.startswith("https://")
        with urllib.request.urlopen(f"{server.url}readyz", context=trusted, timeout=30) as answer:
            assert answer.status == 200
        named = urllib.request.Request(f"{server.url}v1/model", headers={"Host": "pictures.example"})
        with urllib.request.urlopen(named, context=trusted, timeout=30) as answer:
            assert answer.status == 200
        first = serial(server.url)
        authority.issue("second", file="server")
        assert serial(server.url) != first
        address = server.url.removeprefix("https://").rstrip("/")
        connection = http_client.HTTPConnection(address, timeout=30)
        with pytest.raises((http_client.HTTPException, OSError)):
            connection.request("GET", "/readyz")
            connection.getresponse()


def test_a_client_certificate_is_asked_for(authority: Any, another_authority: Any) -> None:
    certificate, key = authority.issue("server")
    flags = ("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", authority.certificate)
    with running_server(*FLAGS, *flags) as server:
        for issuer, is_welcome in ((None, False), (another_authority, False), (authority, True)):
            context = ssl.create_default_context(cafile=str(authority.certificate))
            if issuer is not None:
                context.load_cert_chain(*issuer.issue("caller"))
            try:
                with urllib.request.urlopen(f"{server.url}readyz", context=context, timeout=30) as answer:
                    assert answer.status == 200
                assert is_welcome
            except OSError:
                assert not is_welcome


def test_other_machines_reach_nothing_without_tls() -> None:
    command = [
        sys.executable,
        "-m",
        "stylewire_server",
        "serve",
        "--port",
        "0",
        "--host",
        "0.0.0.0",
        "--http-port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "is open to other machines" in done.stderr


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", "--http-port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert done.stderr.strip() == (
        f"stylewire_server: cannot bind 127.0.0.1:{port}: the port is taken, or the address is not this machine's"
    )


def test_without_the_extra_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None; sys.argv = ['stylewire_server', 'serve', '--port', '0', "
        "'--http-port', '0']; from stylewire_server.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "--http-port needs starlette: pip install 'stylewire[server,http]'" in done.stderr


def test_a_picture_under_way_is_finished_at_the_end(open_http: Any, large: bytes, calls_begun: Any) -> None:
    with running_server(*FLAGS, "--metrics-port", "0") as server:
        http = open_http(server.url)
        found: list[Any] = []
        fields = [("content", large), ("style", "waves"), ("fit", "native")]
        call = threading.Thread(target=lambda: found.append(http("POST", "/v1/stylize", fields)))
        call.start()
        until(lambda: calls_begun(metrics_of(server)) == 1, "the call has begun")
        server.process.send_signal(signal.SIGTERM)
        assert logged(server, "draining: ")
        late = http("GET", "/v1/model")
        assert (late.status, late.json["type"]) == (503, "urn:stylewire:problem:draining")
        assert late.headers["retry-after"] == "1"
        assert http("GET", "/readyz").status == 503
        assert http("GET", "/healthz").status == 200
        call.join()
        assert found[0].status == 200
        assert found[0].headers["image-width"] == "2400"
        assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads calls over processes on one port")
def test_several_processes_share_the_port(open_http: Any, photo: Path) -> None:
    with running_server(*FLAGS, "--processes", "2", "--threads", "2") as server:
        http = open_http(server.url)
        fields = [("content", photo.read_bytes()), ("style", "waves")]
        for _ in range(8):
            assert http("POST", "/v1/stylize", fields).status == 200
        assert http("GET", "/").status == 200


def test_an_upload_is_counted_in_memory_and_in_the_metrics(open_http: Any, photo: Path) -> None:
    with running_server(*FLAGS, "--metrics-port", "0") as server:
        metrics = metrics_of(server)

        def shown(wanted: str) -> bool:
            with urllib.request.urlopen(metrics, timeout=30) as answer:
                return f"\n{wanted}\n" in answer.read().decode()

        def reads(wanted: str) -> bool:
            return until(lambda: shown(wanted), wanted)

        with raw(server) as connection:
            connection.sendall(head("Content-Length: 1000000"))
            assert reads("stylewire_call_memory_bytes 1e+06")
            assert reads("stylewire_requests_in_flight 1.0")
        assert reads("stylewire_call_memory_bytes 0.0")
        assert reads('stylewire_requests_total{code="CANCELLED",method="/http/Stylize"} 1.0')
        open_http(server.url).stylize(("content", photo.read_bytes()), ("style", "waves"))
        assert reads('stylewire_requests_total{code="OK",method="/http/Stylize"} 1.0')
        assert reads("stylewire_call_memory_bytes 0.0")
