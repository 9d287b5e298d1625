"""StylizeStream through a real server."""

import gc
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from PIL import Image
from stylewire import Client, InvalidImage, InvalidRequest, StylewireError
from stylewire.client import AHEAD
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc


def shaded(photo: Path, count: int, side: int = 64) -> list[np.ndarray]:
    """Return frames that differ in brightness."""
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((side, side)), np.float32)
    return [(pixels * (0.2 + 0.8 * number / count)).astype(np.uint8) for number in range(count)]


def test_frames_come_in_order_and_as_single_pictures_do(either_client: Any, photo: Path, style_picture: Path) -> None:
    frames = shaded(photo, 30)
    options: dict = {"fit": "native", "strength": 0.8, "preserve_color": True}
    results = list(either_client.stylize_stream(frames, style_picture, **options))
    assert len(results) == 30
    for number in (0, 7, 29):
        single = either_client.stylize(frames[number], style_picture, **options)
        np.testing.assert_array_equal(np.asarray(results[number]), np.asarray(single))


def test_frames_may_be_of_any_kind_and_size(either_client: Any, photo: Path, style_picture: Path) -> None:
    with Image.open(photo) as image:
        frames = [photo, photo.read_bytes(), image.convert("RGB").resize((90, 50)), np.zeros((33, 47, 3), np.uint8)]
        sizes = [frame.size for frame in either_client.stylize_stream(frames, style_picture, fit="native")]
    assert sizes == [(512, 512), (512, 512), (90, 50), (47, 33)]


def test_no_frames_give_no_pictures(either_client: Any, style_picture: Path) -> None:
    assert list(either_client.stylize_stream([], style_picture)) == []


def test_the_style_is_predicted_once(server: Any, photo: Path) -> None:
    style = shaded(photo, 2, 80)[1]
    setup = pb.StreamSetup(
        styles=[pb.WeightedStyle(image=pb.Image(pixels=pb.Pixels(height=80, width=80, rgb=style.tobytes())))]
    )
    content = pb.StylizeStreamRequest(content=pb.Image(encoded=photo.read_bytes()))
    with grpc.insecure_channel(server.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        responses = list(stub.StylizeStream(iter([pb.StylizeStreamRequest(setup=setup), *[content] * 5])))
    assert [response.timings.predict_ms > 0 for response in responses] == [True] + [False] * 4
    assert [response.timings.style_cached for response in responses] == [False] + [True] * 4


def test_a_frame_that_does_not_decode_ends_the_stream_with_its_number(
    either_client: Any, photo: Path, style_picture: Path
) -> None:
    frames: list = [*shaded(photo, 7), b"no picture", *shaded(photo, 20)]
    seen = []
    with pytest.raises(InvalidImage, match=r"frame 7: content is not a JPEG, PNG or WebP") as caught:
        for frame in either_client.stylize_stream(frames, style_picture):
            seen.append(frame)  # noqa: PERF402 (what came before the error counts)
    assert len(seen) == 7
    assert caught.value.field == "content"
    assert either_client.stylize(photo, style_picture).size == (256, 256)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "first message has no setup"),
        ([pb.StylizeStreamRequest(content=pb.Image(encoded=b"x"))], "first message has no setup"),
        ([pb.StylizeStreamRequest()], "first message has no setup"),
        ([pb.StylizeStreamRequest(setup=pb.StreamSetup())], "styles is empty"),
    ],
)
def test_a_stream_begins_with_its_setup(server: Any, requests: list, message: str) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        with pytest.raises(grpc.RpcError, match=message) as caught:
            list(stub.StylizeStream(iter(requests)))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_second_setup_is_refused(server: Any, style_picture: Path, photo: Path) -> None:
    style = pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))
    setup = pb.StylizeStreamRequest(setup=pb.StreamSetup(styles=[style]))
    frame = pb.StylizeStreamRequest(content=pb.Image(encoded=photo.read_bytes()))
    with grpc.insecure_channel(server.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        with pytest.raises(grpc.RpcError, match="frame 1: setup came again"):
            list(stub.StylizeStream(iter([setup, frame, setup])))


def test_bad_options_are_told_before_any_frame(either_client: Any, photo: Path, style_picture: Path) -> None:
    with pytest.raises(InvalidRequest, match="strength is 2") as caught:
        list(either_client.stylize_stream([photo], style_picture, strength=2.0))
    assert caught.value.field == "options.strength"
    with pytest.raises(InvalidImage, match=r"styles\[0\] is not a JPEG") as damaged:
        list(either_client.stylize_stream([photo], b"text"))
    assert damaged.value.field == "styles[0]"


class Watched:
    """An endless iterator of frames that counts them. `closed` is set when the consumer closes it."""

    def __init__(self, frame: Any) -> None:
        self.taken = 0
        self.closed = threading.Event()
        self._frame = frame

    def __call__(self) -> Iterator[Any]:
        try:
            while True:
                self.taken += 1
                yield self._frame
        finally:
            self.closed.set()


def test_frames_are_taken_only_a_few_ahead(either_client: Any, photo: Path, style_picture: Path) -> None:
    watched = Watched(shaded(photo, 2)[1])
    stream = either_client.stylize_stream(watched(), style_picture)
    for received in range(1, 30):
        next(stream)
        assert watched.taken <= received + AHEAD
    stream.close()


def test_leaving_the_loop_ends_the_call_and_frees_the_frames(
    either_client: Any, photo: Path, style_picture: Path
) -> None:
    watched = Watched(shaded(photo, 2)[1])
    stream = either_client.stylize_stream(watched(), style_picture)
    for _ in zip(range(3), stream, strict=False):
        pass
    stream.close()
    del stream
    gc.collect()
    assert watched.closed.wait(60)
    taken = watched.taken
    assert either_client.stylize(photo, style_picture).size == (256, 256)
    assert watched.taken == taken


def test_an_error_of_the_frames_is_the_callers_own(either_client: Any, photo: Path, style_picture: Path) -> None:
    def frames() -> Iterator[Any]:
        yield from shaded(photo, 3)
        raise KeyError("camera unplugged")

    seen = []
    with pytest.raises(KeyError, match="camera unplugged"):
        for frame in either_client.stylize_stream(frames(), style_picture):
            seen.append(frame)  # noqa: PERF402
    assert len(seen) == 3


def test_a_frame_that_cannot_be_sent_is_told(either_client: Any, photo: Path, style_picture: Path) -> None:
    with pytest.raises(InvalidImage, match=r"frame 1: content is an array .* must be uint8"):
        list(either_client.stylize_stream([photo, np.zeros((4, 4))], style_picture))
    with pytest.raises(FileNotFoundError):
        list(either_client.stylize_stream([photo, "nosuch.jpg"], style_picture))


def test_answers_come_while_the_sender_waits_for_them(server: Any, photo: Path, style_picture: Path) -> None:
    """A caller that sends the next frame only after the last result is served, not waited for."""
    gate = threading.Semaphore(1)

    def lockstep() -> Iterator[Any]:
        for frame in shaded(photo, 6):
            gate.acquire()
            yield frame

    with Client(server.target) as client:
        count = 0
        for _ in client.stylize_stream(lockstep(), style_picture, timeout=60):
            count += 1
            gate.release()
    assert count == 6


def test_a_slow_reader_does_not_fill_the_servers_memory(start_server: Any, photo: Path, style_picture: Path) -> None:
    """300 frames of 3 MB each way, none of them read: the server holds a few, and stops reading."""
    server = start_server("--model", "lite")
    try:
        process = psutil.Process(server.process.pid)
        frame = np.zeros((1024, 1024, 3), np.uint8)
        content = pb.StylizeStreamRequest(
            content=pb.Image(pixels=pb.Pixels(height=1024, width=1024, rgb=frame.tobytes()))
        )
        style = pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))
        setup = pb.StylizeStreamRequest(
            setup=pb.StreamSetup(styles=[style], options=pb.StylizeOptions(fit=pb.FIT_NATIVE))
        )
        sent = []

        def requests() -> Iterator[Any]:
            yield setup
            for number in range(300):
                sent.append(number)
                yield content

        with grpc.insecure_channel(
            server.target, [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        ) as channel:
            call = stylizer_pb2_grpc.StylizerStub(channel).StylizeStream(requests())
            next(iter(call))
            warm = process.memory_info().rss
            settled = _settled(sent)
            assert settled < 100, f"{settled} frames were taken by a server whose answers nobody reads"
            assert process.memory_info().rss - warm < 200e6
            call.cancel()
        with Client(server.target, timeout=60) as client:
            assert client.stylize(photo, style_picture).size == (256, 256)
    finally:
        assert server.stop() == 0


def _settled(sent: list) -> int:
    """Wait until no frame is sent for two seconds, and return the number of sent frames."""
    last = -1
    while last != len(sent):
        last = len(sent)
        time.sleep(2)
    return last


def test_a_cancelled_stream_leaves_the_queue(start_server: Any, style_picture: Path) -> None:
    """14 of 16 frames on one engine wait. After the cancel none waits, and only the running frames finish."""
    server = start_server("--model", "lite", "--streams", "1")
    try:
        with Client(server.target, timeout=60) as client:
            large = np.zeros((384, 384, 3), np.uint8)
            streams = [client.stylize_stream(iter([large] * 200), style_picture, fit="native") for _ in range(4)]
            for stream in streams:
                next(stream)
            for stream in streams:
                stream.close()
            # On the same connection, so behind the cancels.
            client.model()
            server.stop()
        (draining,) = [line for line in server.log if "draining" in line]
        assert re.search(r"draining: [012] calls running, 0 waiting$", draining), draining
    finally:
        assert server.stop() == 0


def test_a_stream_ends_with_its_server(start_server: Any, photo: Path, style_picture: Path) -> None:
    server = start_server("--model", "lite", "--grace", "1")
    with Client(server.target, timeout=60) as client:
        stream = client.stylize_stream(Watched(shaded(photo, 2)[1])(), style_picture)
        next(stream)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        with pytest.raises(StylewireError):
            for _ in stream:
                pass
        stopper.join()
    assert server.process.returncode == 0


def test_a_frame_that_finds_the_queue_full_waits(start_server: Any, photo: Path, style_picture: Path) -> None:
    """Two jobs run and one may wait, so of four frames in flight one is refused at first."""
    server = start_server("--model", "lite", "--streams", "1", "--queue-size", "1")
    try:
        with Client(server.target, timeout=60) as client:
            assert len(list(client.stylize_stream([photo] * 40, style_picture))) == 40
    finally:
        assert server.stop() == 0


def test_a_quiet_stream_of_a_client_that_pings_lives(server: Any, photo: Path, style_picture: Path) -> None:
    """Six pings without a byte between them; gRPC's own measure ends the connection at the third."""
    eager = [("grpc.keepalive_time_ms", 1_200), ("grpc.http2.max_pings_without_data", 0)]
    frame = pb.StylizeStreamRequest(content=pb.Image(encoded=photo.read_bytes()))

    def requests() -> Iterator[pb.StylizeStreamRequest]:
        setup = pb.StreamSetup(styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))])
        yield pb.StylizeStreamRequest(setup=setup)
        yield frame
        time.sleep(8)
        yield frame

    with grpc.insecure_channel(server.target, eager) as channel:
        assert len(list(stylizer_pb2_grpc.StylizerStub(channel).StylizeStream(requests(), timeout=60))) == 2
