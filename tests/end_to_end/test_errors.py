"""Every error of Stylize, over a real socket. After each error the server still serves."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from PIL import Image
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

MAX_MESSAGE = 40 * 2**20


@pytest.fixture(scope="module")
def stub(server) -> Iterator[stylizer_pb2_grpc.StylizerStub]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.target, options) as channel:
        yield stylizer_pb2_grpc.StylizerStub(channel)


@pytest.fixture
def good(photo: Path, style_picture: Path) -> pb.StylizeRequest:
    return pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
    )


def file(width: int, height: int, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (20, 120, 220)).save(out, form)
    return out.getvalue()


def claimed_png(width: int, height: int) -> bytes:
    """Return a PNG whose header claims that size, with almost no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


def violation(error: grpc.RpcError) -> error_details_pb2.BadRequest.FieldViolation:
    status = status_pb2.Status()
    status.ParseFromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    request = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(request)
    return request.field_violations[0]


def encoded(data: bytes) -> pb.Image:
    return pb.Image(encoded=data)


CONTENT_CASES = {
    "missing": (pb.Image(), r"content is missing"),
    "empty": (encoded(b""), r"content is empty: 0 bytes"),
    "text": (encoded(b"This is a text file that somebody has renamed to .jpg"), r"not a JPEG, PNG or WebP.*53 bytes"),
    "claims 100000x100000": (encoded(claimed_png(100_000, 100_000)), r"100000x100000 px = 10,000.0 Mpx.*64.0 Mpx"),
    "too small": (encoded(file(15, 40)), r"15x40 px; each side must be at least 16 px"),
    "too many bytes": (encoded(bytes(16 * 2**20 + 1)), r"16,777,217 bytes; the limit is 16,777,216 bytes"),
    "pixels missing": (pb.Image(pixels=pb.Pixels(height=0, width=5)), r"5x0 px; both sides must be above 0 px"),
    "pixels short": (
        pb.Image(pixels=pb.Pixels(height=20, width=30, rgb=bytes(100))),
        r"100 bytes; 30x20 px of RGB are 1,800 bytes",
    ),
}


@pytest.mark.parametrize("case", CONTENT_CASES)
def test_bad_content(stub, good: pb.StylizeRequest, case: str) -> None:
    image, message = CONTENT_CASES[case]
    request = pb.StylizeRequest()
    request.CopyFrom(good)
    request.content.CopyFrom(image)
    refused(stub, request, "content", message)
    assert stub.Stylize(good, timeout=60).width == 256


@pytest.mark.parametrize("case", ["missing", "empty", "text", "claims 100000x100000", "too small"])
def test_bad_style(stub, good: pb.StylizeRequest, case: str) -> None:
    image, message = CONTENT_CASES[case]
    good.styles.add().image.CopyFrom(image)
    refused(stub, good, r"styles\[1\](\.image)?", message.replace("content", r"styles\[1\](\.image)?"))


def test_truncated_jpeg(stub, good: pb.StylizeRequest) -> None:
    whole = good.content.encoded
    good.content.encoded = whole[: len(whole) // 2]
    refused(stub, good, "content", rf"truncated or damaged JPEG file of {len(whole) // 2:,} bytes")


def test_native_above_the_pixel_limit(stub, good: pb.StylizeRequest) -> None:
    good.content.encoded = file(2100, 2100, "JPEG")
    good.options.fit = pb.FIT_NATIVE
    refused(stub, good, "content", r"2100x2100 px = 4.4 Mpx; the limit is 4.2 Mpx")
    good.options.fit = pb.FIT_CROP_256
    assert stub.Stylize(good, timeout=60).width == 256


@pytest.mark.parametrize("strength", [-0.5, 1.5, float("nan"), float("inf")])
def test_strength_outside_its_range(stub, good: pb.StylizeRequest, strength: float) -> None:
    good.options.strength = strength
    refused(stub, good, r"options\.strength", r"strength is .*; it must be from 0 to 1")


@pytest.mark.parametrize("weight", [0.0, -2.0, float("nan"), float("inf")])
def test_weight_that_is_not_above_zero(stub, good: pb.StylizeRequest, weight: float) -> None:
    good.styles[0].weight = weight
    refused(stub, good, r"styles\[0\]\.weight", r"must be a finite number above 0")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("quality", 101, r"quality is 101"), ("fit", 77, r"fit is 77"), ("encoding", 99, r"encoding is 99")],
)
def test_options_outside_their_range(stub, good: pb.StylizeRequest, field: str, value: int, message: str) -> None:
    setattr(good.options, field, value)
    refused(stub, good, rf"options\.{field}", message)


def test_a_side_that_the_encoding_cannot_hold(stub, good: pb.StylizeRequest) -> None:
    good.content.encoded = file(17_000, 16)
    good.options.fit, good.options.encoding = pb.FIT_NATIVE, pb.ENCODING_WEBP
    refused(stub, good, "content", r"17000x16 px; .* at most 16,383 px; ask for PNG")
    good.options.encoding = pb.ENCODING_PNG
    assert stub.Stylize(good, timeout=60).width == 17_000


def test_no_style_and_too_many(stub, good: pb.StylizeRequest) -> None:
    style = good.styles.pop()
    refused(stub, good, "styles", r"at least 1 style")
    good.styles.extend([style] * 17)
    refused(stub, good, "styles", r"17 styles; the limit is 16 styles")


def test_a_message_above_the_limit_is_refused_and_one_below_is_read(stub, good: pb.StylizeRequest) -> None:
    good.content.pixels.CopyFrom(pb.Pixels(height=3000, width=4000, rgb=bytes(36_000_000)))
    good.options.fit = pb.FIT_CROP_256
    assert stub.Stylize(good, timeout=60).width == 256
    good.content.pixels.rgb = bytes(MAX_MESSAGE + 1)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Stylize(good, timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MAX_MESSAGE) in caught.value.details()


def test_a_deadline_that_has_all_but_passed(stub, good: pb.StylizeRequest) -> None:
    stub.Stylize(good, timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Stylize(good, timeout=0.0005)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert stub.Stylize(good, timeout=60).width == 256


def test_a_full_queue_says_when_to_come_back(start_server, photo: Path, style_picture: Path) -> None:
    """With few places in the queue, some of many simultaneous calls are refused, with a time for the retry."""
    running = start_server("--model", "lite", "--queue-size", "1", "--streams", "1")
    request = pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE),
    )
    try:
        with grpc.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
            stub = stylizer_pb2_grpc.StylizerStub(channel)
            calls = [stub.Stylize.future(request, timeout=60) for _ in range(24)]
            errors = [call.exception() for call in calls]
            busy = [error for error in errors if error is not None]
            assert any(error is None for error in errors)
            assert busy
            for error in busy:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert re.search(r"1 calls are waiting; the limit is 1 calls", error.details())
                status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
                info = error_details_pb2.RetryInfo()
                assert status.details[0].Unpack(info)
                assert info.retry_delay.ToMicroseconds() > 0
            assert stub.Stylize(request, timeout=60).width == 512
    finally:
        assert running.stop() == 0


def refused(stub, request: pb.StylizeRequest, field: str, message: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Stylize(request, timeout=60)
    error = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
    assert re.search(message, error.details()), error.details()
    found = violation(error)
    assert re.fullmatch(field, found.field), found.field
    assert found.description == error.details()
    for leak in ("Traceback", "File ", "site-packages", "/home", ".py"):
        assert leak not in error.details()


def test_noise_of_all_kinds_is_a_clean_refusal(stub, good: pb.StylizeRequest) -> None:
    rng = np.random.default_rng(3)
    whole = bytearray(good.content.encoded)
    for _ in range(40):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 20):
            damaged[position] = rng.integers(0, 256)
        good.content.encoded = bytes(damaged)
        try:
            assert stub.Stylize(good, timeout=60).width == 256
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
