"""A server with the HTTP port open, and requests to it without any client library."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from stylewire_server.testing import ServerProcess

Field = tuple[str, str | bytes]


@dataclass
class Answer:
    """An answer: its status, headers by lower-case name, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def form(fields: Sequence[Field]) -> tuple[bytes, str]:
    """Return a multipart body and its type. Bytes become a file."""
    boundary = uuid.uuid4().hex
    out = bytearray()
    for name, value in fields:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, bytes):
            out += b'; filename="picture.jpg"\r\nContent-Type: image/jpeg'
        out += b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return bytes(out) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Http:
    """A client for one server. Each request has its own connection."""

    form = staticmethod(form)

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = urlsplit(url).netloc

    def __call__(
        self,
        method: str,
        path: str,
        fields: Sequence[Field] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if fields is not None:
            body, sent["Content-Type"] = form(fields)
        connection = HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def stylize(self, *fields: Field, **headers: str) -> Answer:
        return self("POST", "/v1/stylize", fields, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of the lite edition with the page, and the example styles under their names."""
    styles = Path(__file__).resolve().parents[2] / "examples" / "style"
    data = tmp_path_factory.mktemp("http-data")
    ports = ("--http-port", "0", "--metrics-port", "0")
    flags = ("--model", "lite", "--streams", "2", *ports, "--styles", styles, "--data-dir", data)
    running = ServerProcess(*flags)
    yield running
    assert running.stop() == 0, "\n".join(running.log)


@pytest.fixture(scope="session")
def http(http_server: ServerProcess) -> Http:
    """A client for the shared server."""
    return Http(http_server.url)


@pytest.fixture(scope="session")
def open_http() -> type[Http]:
    """Return a function that makes a client for a server at a URL."""
    return Http
