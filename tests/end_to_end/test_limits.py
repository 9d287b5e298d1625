"""Limits on open calls and streams, and how a server reports its limits."""

import io
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image
from stylewire import Client
from stylewire.errors import InvalidRequest, ServerBusy, from_rpc_error
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import until

LIMITS = {
    "max_pixels": 100_000,
    "max_decode_pixels": 2_000_000,
    "max_encoded_bytes": 300_000,
    "max_message_bytes": 700_000,
    "max_styles": 2,
    "max_streams": 2,
    "queue_size": 3,
}


@pytest.fixture(scope="module")
def limited(start_server) -> Iterator[object]:
    flags = [part for name, value in LIMITS.items() for part in (f"--{name.replace('_', '-')}", value)]
    running = start_server("--model", "lite", "--max-calls", "4", *flags)
    yield running
    assert running.stop() == 0


def test_every_limit_is_told_as_it_was_set(limited) -> None:
    with Client(limited.target, timeout=20) as client:
        told = client.model().limits
    assert {name: getattr(told, name) for name in LIMITS} == LIMITS


def busy(caught) -> ServerBusy:
    error = from_rpc_error(caught.value, "")
    assert isinstance(error, ServerBusy)
    assert error.retry_after == 1.0
    return error


def test_reflection_takes_no_place_of_a_stream(limited, photo: Path, style_picture: Path) -> None:
    end = threading.Event()

    def questions() -> Iterator[object]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        end.wait(60)

    with grpc.insecure_channel(limited.target) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        asking = [ask(questions(), timeout=60) for _ in range(3)]
        for stream in asking:
            next(stream)
        with Client(limited.target, timeout=60) as client:
            assert len(list(client.stylize_stream([photo], style_picture))) == 1
        end.set()
        assert [list(stream) for stream in asking] == [[], [], []]


def test_more_streams_than_the_limit_are_refused_until_one_ends(limited, photo: Path, style_picture: Path) -> None:
    end = threading.Event()
    setup = pb.StreamSetup(styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))])

    def requests(wait: bool) -> Iterator[pb.StylizeStreamRequest]:
        yield pb.StylizeStreamRequest(setup=setup)
        yield pb.StylizeStreamRequest(content=pb.Image(encoded=photo.read_bytes()))
        assert not wait or end.wait(60)

    with grpc.insecure_channel(limited.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        streams = [stub.StylizeStream(requests(True), timeout=60) for _ in range(2)]
        for stream in streams:
            next(stream)
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.StylizeStream(requests(False), timeout=20))
        assert "2 streams are open; the limit is 2 streams" in str(busy(caught))
        end.set()
        assert [list(stream) for stream in streams] == [[], []]
        assert len(list(stub.StylizeStream(requests(False), timeout=60))) == 1


def test_calls_that_only_upload_count_and_more_are_refused_before_they_send_anything(limited) -> None:
    end = threading.Event()

    def requests() -> Iterator[bytes]:
        end.wait(60)
        yield b""

    with grpc.insecure_channel(limited.target, [("grpc.enable_retries", 0)]) as channel:
        upload = channel.stream_unary("/stylewire.v1.Stylizer/GetModel")
        calls = [upload.future(requests(), timeout=60) for _ in range(6)]
        while sum(call.done() for call in calls) < 2:
            pass
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModel(pb.GetModelRequest(), timeout=20)
        assert "4 calls are open; the limit is 4 calls" in str(busy(caught))
        end.set()
        codes = [call.code() for call in calls if call.exception(30) or True]
        assert sorted(code.name for code in codes) == ["OK"] * 4 + ["RESOURCE_EXHAUSTED"] * 2
        assert stub.GetModel(pb.GetModelRequest(), timeout=20).edition == "lite"


def test_a_message_that_is_not_one_is_told_so(limited) -> None:
    with grpc.insecure_channel(limited.target) as channel:
        for method in ("Stylize", "GetModel"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/stylewire.v1.Stylizer/{method}")(b"\xff\xff\xff", timeout=20)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary("/stylewire.v1.Stylizer/GetModel")(iter([]), timeout=20)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_two_servers_do_not_share_a_metrics_port(start_server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match="exit code 1"):
            start_server("--model", "lite", "--metrics-port", port)


def test_a_picture_that_still_uploads_when_the_server_drains_is_seen_through(
    start_server, photo: Path, style_picture: Path
) -> None:
    running = start_server("--model", "lite", "--metrics-port", "0")
    send = threading.Event()
    message = pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
    )

    def requests() -> Iterator[bytes]:
        assert send.wait(60)
        yield message.SerializeToString()

    def in_flight() -> bool:
        (line,) = [line for line in running.log if "metrics on" in line]
        with urllib.request.urlopen(line.split("metrics on ")[1], timeout=20) as answer:
            return "stylewire_requests_in_flight 1.0" in answer.read().decode()

    with grpc.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
        call = channel.stream_unary("/stylewire.v1.Stylizer/Stylize").future(requests(), timeout=60)
        until(in_flight, "the call is in flight")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: any("draining" in line for line in running.log), "the server drains")
        send.set()
        assert pb.StylizeResponse.FromString(call.result(30)).width == 256
    assert running.stop() == 0


def test_a_connection_that_keeps_to_its_share_of_the_calls_is_never_refused(server) -> None:
    """More than its share of 256 at once: the others wait at this end."""
    with grpc.insecure_channel(server.target, [("grpc.enable_retries", 0)]) as channel:
        ask = stylizer_pb2_grpc.StylizerStub(channel).GetModel.future
        for _ in range(3):
            calls = [ask(pb.GetModelRequest(), timeout=60) for _ in range(1000)]
            assert {call.result().edition for call in calls} == {"lite"}


def test_a_result_that_fits_no_message_is_refused_with_a_format_that_does(start_server, style_picture: Path) -> None:
    running = start_server("--model", "lite", "--max-message-bytes", "1000000")
    with Client(running.target, timeout=60) as client:
        assert client.stylize(style_picture, style_picture, fit="native", encoding="raw").size == (512, 512)
        size = 700, 600
        with Image.open(style_picture) as image:
            file = io.BytesIO()
            image.resize(size).save(file, "JPEG")
        with pytest.raises(InvalidRequest, match=r"up to 1,260,000 bytes as RAW; .* ask for JPEG or WebP"):
            client.stylize(file.getvalue(), style_picture, fit="native", encoding="raw")
        assert client.stylize(file.getvalue(), style_picture, fit="native", encoding="jpeg").size == size
    assert running.stop() == 0
