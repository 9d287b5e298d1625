"""Unexpected bytes on the port: random data, broken HTTP/2, and connections that fail."""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from stylewire.v1 import stylizer_pb2 as pb
from stylewire_server.testing import until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = struct.pack(">I", 0)[1:] + b"\x04\x00" + struct.pack(">I", 0)

ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

METHODS = (
    "/stylewire.v1.Stylizer/Stylize",
    "/stylewire.v1.Stylizer/GetModel",
    "/stylewire.v1.Stylizer/NoSuchMethod",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelMetadata",
)


@pytest.fixture(scope="module")
def own_server(start_server) -> Iterator[object]:
    running = start_server("--model", "lite", "--log-level", "warning")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.log)


@pytest.mark.timeout(3600)
def test_random_messages_are_never_the_servers_fault(
    own_server, still_serves, job: pb.StylizeRequest, long_form: bool
) -> None:
    rng = random.Random(11)
    whole = job.SerializeToString()
    seen = set()
    with grpc.insecure_channel(own_server.target) as channel:
        for number in range(3000 if long_form else 200):
            if number % 2:
                body = rng.randbytes(rng.choice((0, 1, 2, 10, 100, 5000)))
            else:
                damaged = bytearray(whole)
                for _ in range(rng.randrange(1, 6)):
                    damaged[rng.randrange(40 if rng.random() < 0.7 else len(damaged))] = rng.randrange(256)
                body = bytes(damaged[: rng.randrange(len(damaged))]) if rng.random() < 0.3 else bytes(damaged)
            method = rng.choice(METHODS)
            try:
                channel.unary_unary(method)(body, timeout=60)
                code, message = grpc.StatusCode.OK, ""
            except grpc.RpcError as error:
                code, message = error.code(), error.details()
            assert code in ALLOWED, f"{method}: {code} {message} for {body[:64].hex()}"
            seen.add(code)
    assert grpc.StatusCode.INVALID_ARGUMENT in seen
    still_serves(own_server.target)


def strange_bytes() -> dict[str, bytes]:
    """Return byte strings that may arrive at a port."""
    rng = random.Random(5)
    frame = struct.Struct(">I")
    return {
        "http/1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "tls": bytes.fromhex("16030100a5010000a10303") + rng.randbytes(200),
        "noise": rng.randbytes(4096),
        "zeros": bytes(4096),
        "nothing": b"",
        "half a preface": PREFACE[:9],
        "preface and noise": PREFACE + rng.randbytes(2048),
        "huge frame": PREFACE + SETTINGS + frame.pack(0xFFFFFF)[1:] + b"\x00\x00" + frame.pack(1) + b"x" * 100,
        "headers that are none": PREFACE + SETTINGS + frame.pack(64)[1:] + b"\x01\x05" + frame.pack(1) + b"\xff" * 64,
        "data for no stream": PREFACE + SETTINGS + frame.pack(4)[1:] + b"\x00\x01" + frame.pack(77) + b"data",
        "resets": PREFACE + SETTINGS + (frame.pack(4)[1:] + b"\x03\x00" + frame.pack(1) + frame.pack(8)) * 500,
        "pings": PREFACE + SETTINGS + (frame.pack(8)[1:] + b"\x06\x00" + frame.pack(0) + b"01234567") * 500,
    }


@pytest.mark.parametrize("name", list(strange_bytes()))
def test_strange_bytes_do_no_harm(own_server, still_serves: Callable[[str], None], name: str) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", own_server.port), 10) as connection:
            connection.settimeout(0.5)
            with contextlib.suppress(OSError):
                connection.sendall(strange_bytes()[name])
                while connection.recv(4096):
                    pass
    still_serves(own_server.target)


def test_half_open_and_silent_connections_keep_nobody_out(own_server, still_serves, vitals) -> None:
    look = vitals(own_server.process.pid)
    still_serves(own_server.target)
    before = look.read()
    silent = [socket.create_connection(("127.0.0.1", own_server.port), 10) for _ in range(100)]
    begun = [socket.create_connection(("127.0.0.1", own_server.port), 10) for _ in range(100)]
    for connection in begun:
        connection.sendall(PREFACE + SETTINGS)
    still_serves(own_server.target)
    for connection in (*silent, *begun):
        # Gone without a goodbye: the reset is what a crashed peer's system sends when it is asked.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    still_serves(own_server.target)
    until(lambda: look.read()["descriptors"] <= before["descriptors"] + 5, "the connections' descriptors are closed")


class Relay:
    """A relay between a client and the server. After `stop`, both sides receive nothing more."""

    def __init__(self, port: int, upstream: int, bytes_per_second: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._upstream = port
        self._limit = upstream
        self._rate = bytes_per_second
        self.stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._upstream), 10)
                self._sockets += [near, far]
                threading.Thread(target=self._pump, args=(near, far, self._limit), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, 0), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if self.stopped.is_set() or (limit and passed + len(data) > limit):
                    self.stopped.set()
                    return
                sink.sendall(data)
                passed += len(data)
                if self._rate and not limit and source is self._sockets[-1]:
                    time.sleep(len(data) / self._rate)

    def close(self) -> None:
        """Cuts every connection."""
        self._listener.close()
        for each in self._sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


def test_clients_that_vanish_in_mid_upload_leave_nothing_behind(own_server, still_serves, job, vitals) -> None:
    look = vitals(own_server.process.pid)
    still_serves(own_server.target)
    before = look.read()
    for share in (0.1, 0.5, 0.9):
        relay = Relay(own_server.port, int(len(job.SerializeToString()) * share))
        with grpc.insecure_channel(f"127.0.0.1:{relay.port}", [("grpc.enable_retries", 0)]) as channel:
            call = channel.unary_unary("/stylewire.v1.Stylizer/Stylize", pb.StylizeRequest.SerializeToString).future(
                job, timeout=60
            )
            assert relay.stopped.wait(30)
            still_serves(own_server.target)
            relay.close()
            assert isinstance(call.exception(30), grpc.RpcError)
    for _ in range(100):
        if look.read()["descriptors"] <= before["descriptors"] + 5:
            break
        time.sleep(0.2)
    after = look.read()
    assert after["descriptors"] <= before["descriptors"] + 5
    assert after["threads"] <= before["threads"] + 5


def test_a_slow_reader_gets_its_picture_and_keeps_nobody_waiting(own_server, still_serves, job) -> None:
    relay = Relay(own_server.port, 0, bytes_per_second=200_000)
    slow = pb.StylizeRequest()
    slow.CopyFrom(job)
    slow.options.encoding, slow.options.fit = pb.ENCODING_RAW_PIXELS, pb.FIT_NATIVE
    with grpc.insecure_channel(f"127.0.0.1:{relay.port}") as channel:
        calls = [
            channel.unary_unary(
                "/stylewire.v1.Stylizer/Stylize", pb.StylizeRequest.SerializeToString, pb.StylizeResponse.FromString
            ).future(slow, timeout=120)
            for _ in range(3)
        ]
        still_serves(own_server.target)
        for call in calls:
            assert len(call.result().image.pixels.rgb) == 512 * 512 * 3
    relay.close()


def call_of(path: bytes) -> bytes:
    """The head of a call of that method, in literals without indexing (RFC 7541, 6.2.2)."""
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    head = b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in fields.items())
    return PREFACE + SETTINGS + struct.pack(">I", len(head))[1:] + b"\x01\x04" + struct.pack(">I", 1) + head


def test_a_method_that_is_no_text_shuts_nobody_out(start_server, still_serves, job: pb.StylizeRequest) -> None:
    """gRPC's accept loop falls over it. Streams go on, and new calls come in."""
    running = start_server("--model", "lite", "--log-level", "warning")
    more = threading.Semaphore(0)

    def requests() -> Iterator[pb.StylizeStreamRequest]:
        yield pb.StylizeStreamRequest(setup=pb.StreamSetup(styles=job.styles))
        for _ in range(4):
            more.acquire(timeout=60)
            yield pb.StylizeStreamRequest(content=job.content)

    with grpc.insecure_channel(running.target) as channel:
        frames = channel.stream_stream(
            "/stylewire.v1.Stylizer/StylizeStream",
            pb.StylizeStreamRequest.SerializeToString,
            pb.StylizeResponse.FromString,
        )(requests(), timeout=120)
        more.release()
        assert next(frames).width == 256
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
                connection.sendall(call_of(b"/\xff"))
                time.sleep(0.5)
            still_serves(running.target)
            more.release()
            assert next(frames).width == 256
        assert list(frames) == []
    assert running.stop() == 0
    assert sum("has fallen, and is put up again" in line for line in running.log) == 3
