"""Messages that would cost much more than their size. Each is refused, and its cost to the server is measured.

CPU seconds and bytes are bounded, never wall time. What gRPC needs to receive a message is part of every figure.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from stylewire.oip import open_inference_pb2 as oip
from stylewire.v1 import stylizer_pb2 as pb
from stylewire_server.testing import ServerProcess

MIB = 2**20
MESSAGE = 38 * MIB
"""Bytes of each message, just below the default limit of 40 MiB."""

CPU_SECONDS = 1.0
"""Bound for one refused message of that size; about 0.1 s of it is gRPC's. Before this bound some cost 45 s."""

GROWTH = 8 * MESSAGE
"""Bound for the peak memory above that at rest; before this bound some cost 50 times their size."""

STYLIZE, CREATE = "/stylewire.v1.Stylizer/Stylize", "/stylewire.v1.Stylizer/CreateStyle"
MODEL, STREAM = "/stylewire.v1.Stylizer/GetModel", "/stylewire.v1.Stylizer/StylizeStream"
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def hostile_server(start_server) -> Iterator[ServerProcess]:
    running = start_server("--model", "lite", "--streams", "2", "--log-level", "warning")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.log)


@pytest.fixture
def meter(hostile_server: ServerProcess, meter_of: Callable[[int], Any]) -> Any:
    return meter_of(hostile_server.process.pid)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes (protobuf's encoding guide)."""
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def filled(part: bytes) -> bytes:
    """Return a message that is filled with copies of a part."""
    return part * (MESSAGE // len(part))


def tensor(name: str) -> bytes:
    return field(5, oip.ModelInferRequest.InferInputTensor(name=name, datatype="BYTES", shape=[1]).SerializeToString())


NAMED, EMPTY = field(2, field(2, b"a")), field(2, b"")

MESSAGES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "named styles": (STYLIZE, lambda: filled(NAMED), "styles; the limit is 16 styles"),
    "empty styles": (STYLIZE, lambda: filled(EMPTY), "styles; the limit is 16 styles"),
    "styles of a new style": (CREATE, lambda: field(1, b"x") + filled(NAMED), "styles; the limit is 16 styles"),
    "styles of a stream": (STREAM, lambda: field(1, filled(field(1, field(2, b"a")))), "styles; the limit is 16"),
    "a long name": (STYLIZE, lambda: field(2, field(2, b"w" * MESSAGE)), "the limit is 1,024 bytes"),
    "a long name of a new style": (CREATE, lambda: field(1, b"w" * MESSAGE), "the limit is 1,024 bytes"),
    "one field again and again": (STYLIZE, lambda: filled(field(3, b"")), "fields; the limit is"),
    "unknown fields": (STYLIZE, lambda: filled(b"\xa8\x06\x00"), "fields; the limit is"),
    "groups": (STYLIZE, lambda: b"\x0b" * MESSAGE, "is not a valid request of this method"),
    "a request without fields": (MODEL, lambda: filled(b"\xa8\x06\x00"), "fields; the limit"),
    "empty inputs": (INFER, lambda: filled(field(5, b"")), "inputs; the limit is 8 inputs"),
    "a shape": (INFER, lambda: field(5, field(3, b"\x01" * MESSAGE)), "the limit is 8 elements"),
    "a shape, unpacked": (INFER, lambda: field(5, filled(b"\x18\x01")), "the limit is 8 elements"),
    "empty elements": (INFER, lambda: field(5, field(5, filled(field(8, b"")))), "the limit is 256 elements"),
    "booleans": (INFER, lambda: field(5, field(5, field(1, b"\x01" * MESSAGE))), "the limit is 64 elements"),
    "parameters": (INFER, lambda: filled(field(4, field(1, b"a"))), "parameters; the limit is 64 parameters"),
    "raw contents": (INFER, lambda: filled(field(7, b"")), "elements; the limit is 8 elements"),
    "elements in raw contents": (
        INFER,
        lambda: field(1, b"stylewire") + tensor("content") + tensor("style") + 2 * field(7, bytes(MESSAGE // 2)),
        "input content has more than 1 elements",
    ),
    "a health check": ("/grpc.health.v1.Health/Check", lambda: field(1, b"s" * MESSAGE), "the limit is 1,024 bytes"),
}
"""Name -> method, message, and what the refusal says."""


def refusal(target: str, method: str, message: bytes) -> grpc.RpcError:
    """Send a message as it is, and return the error that it ends in."""
    with grpc.insecure_channel(target, [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            if method == STREAM:
                list(channel.stream_stream(method)(iter([message]), timeout=60))
            else:
                channel.unary_unary(method)(message, timeout=60)
        return caught.value


@pytest.mark.parametrize("name", list(MESSAGES))
def test_what_a_message_holds_is_counted_before_it_is_parsed(hostile_server, meter: Any, name: str) -> None:
    method, make, said = MESSAGES[name]
    message = make()
    meter.start()
    error = refusal(hostile_server.target, method, message)
    cpu, growth = meter.spent()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    assert said in error.details()
    assert len(error.details()) < 300
    assert cpu < CPU_SECONDS, f"{name}: {cpu:.2f} CPU s"
    assert growth < GROWTH, f"{name}: {growth / MIB:.0f} MiB"
    print(f"{name}: {cpu * 1e3:.0f} ms, {growth / MIB:.0f} MiB")


def test_compressed_requests_are_refused(hostile_server, meter: Any, job: pb.StylizeRequest) -> None:
    meter.start()
    with grpc.insecure_channel(hostile_server.target) as channel:
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(STYLIZE)(bytes(MESSAGE), timeout=60, compression=compression)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert meter.spent()[1] < 16 * MIB
