"""Conversion of a failed status to an exception."""

import socket
import threading
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from stylewire import (
    DeadlineExceeded,
    InvalidRequest,
    ServerBusy,
    ServerError,
    StyleNotFound,
    StylewireError,
    Unavailable,
)
from stylewire.errors import from_rpc_error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.CANCELLED, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerBusy),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.NOT_FOUND, StyleNotFound),
        (grpc.StatusCode.INTERNAL, ServerError),
    ],
)
def test_a_status_has_an_error_of_its_own(code: grpc.StatusCode, kind: type[StylewireError]) -> None:
    status = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "the reason")
    error = from_rpc_error(status, "host:1")
    assert type(error) is kind
    assert "the reason" in str(error)


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113, 4.1)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    """The address of a proxy that answers every request with HTTP status 413."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as received:
                    received.read(24)
                    connection.sendall(frame(4, 0, 0))
                    while head := received.read(9):
                        received.read(int.from_bytes(head[:3], "big"))
                        if head[3] == 4 and not head[4]:
                            connection.sendall(frame(4, 1, 0))
                        elif head[3] == 1:
                            # HPACK: the indexed name :status with another value (RFC 7541, 6.2.1).
                            stream = int.from_bytes(head[5:], "big")
                            connection.sendall(frame(1, 5, stream, b"\x48\x03413"))
            except OSError:
                # The test is over.
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_proxys_limit_is_explained(refusing_proxy: str) -> None:
    with grpc.insecure_channel(refusing_proxy) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/stylewire.v1.Stylizer/Stylize")(b"", timeout=20)
    error = from_rpc_error(caught.value, refusing_proxy)
    assert isinstance(error, InvalidRequest)
    assert "(HTTP 413)" in str(error)
    assert "client_max_body_size of nginx is 1 MB" in str(error)
