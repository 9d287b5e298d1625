"""Calls that end abnormally: each ends with the right status and frees its place."""

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.admission.guard import Guard
from stylewire_server.admission.memory import CallMemory
from stylewire_server.admission.open_calls import OpenCallLimit
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.models.lite import lite
from stylewire_server.rpc import interceptor
from stylewire_server.rpc.grpc_workarounds import install_task_factory
from stylewire_server.rpc.interceptor import CallInterceptor
from stylewire_server.rpc.loaded import Loaded
from stylewire_server.rpc.stylizer import StylizerServicer
from stylewire_server.rpc.wire_scan import MessageBounds
from stylewire_server.scheduler import Scheduler
from stylewire_server.styles.storage import open_blobs
from stylewire_server.styles.store import StyleStore
from stylewire_server.styles.vectors import Edition
from stylewire_server.stylizer import Stylizer
from stylewire_server.telemetry.calls import Call, Watcher
from stylewire_server.testing import until

STYLIZE = "/stylewire.v1.Stylizer/Stylize"
STREAM = "/stylewire.v1.Stylizer/StylizeStream"

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
WATCH = "/grpc.health.v1.Health/Watch"

CALLS, STREAMS, PROBES = 8, 2, 3


class Ended(Watcher):
    """The codes of the calls that have ended."""

    def __init__(self) -> None:
        self.codes: list[grpc.StatusCode | None] = []

    def ended(self, call: Call) -> None:
        self.codes.append(call.code)


class Serving:
    """The interceptor and the service in this process, built as in the server, in their own thread."""

    def __init__(self, stylizer: Stylizer) -> None:
        self._stylizer = stylizer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.calls, self.streams, self.probes = (
            OpenCallLimit(CALLS, "calls"),
            OpenCallLimit(STREAMS, "streams"),
            OpenCallLimit(PROBES, "probes"),
        )
        self.ended = Ended()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    async def _start(self) -> int:
        self._scheduler = Scheduler(2, 8)
        guard = Guard(None, self.calls, self.streams, self._scheduler.check_room, [self.ended])
        self.memory = CallMemory(64 * 2**20)
        around = CallInterceptor(guard, self.probes, self.memory, MessageBounds(4, 4), 4 * 2**20)
        install_task_factory(asyncio.get_running_loop())
        self._server = grpc.aio.server(interceptors=[around])
        loaded = Loaded()
        loaded.put(self._stylizer, pb.Model(edition="lite"))
        servicer = StylizerServicer(self._scheduler, loaded)
        stylizer_pb2_grpc.add_StylizerServicer_to_server(servicer, self._server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """Return a channel to the service, without retries."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options) as channel:
            yield channel

    def open(self) -> tuple[int, int]:
        """Return the number of calls and streams that hold a place."""
        return self.calls.taken, self.streams.taken

    def set_health(self, status: int) -> None:
        """Set the health of the service named ""."""
        asyncio.run_coroutine_threadsafe(self._health.set("", status), self._loop).result(20)

    def stop(self) -> None:
        async def stop() -> None:
            await self._server.stop(0)
            self._scheduler.close()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def stylizer(tmp_path_factory: pytest.TempPathFactory) -> Stylizer:
    store = StyleStore(open_blobs(str(tmp_path_factory.mktemp("styles"))))
    return Stylizer(OpenVinoEngine(lite()), ImageLimits(), 4, 1 << 20, Edition("lite", ""), store)


@pytest.fixture
def serving(stylizer: Stylizer) -> Iterator[Serving]:
    running = Serving(stylizer)
    yield running
    running.stop()


@pytest.fixture
def never() -> Iterator[Callable[[], Iterator[bytes]]]:
    """Return a stream of requests that sends nothing while the test runs."""
    end = threading.Event()

    def requests() -> Iterator[bytes]:
        end.wait(60)
        yield from ()

    yield requests
    end.set()


def picture(side: int) -> pb.Image:
    """Return a picture of almost no bytes."""
    out = io.BytesIO()
    Image.new("L", (side, side), 120).save(out, "PNG")
    return pb.Image(encoded=out.getvalue())


def request(side: int = 256) -> pb.StylizeRequest:
    return pb.StylizeRequest(
        content=picture(side),
        styles=[pb.WeightedStyle(image=picture(64))],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE),
    )


def frames(count: int, pause: float = 0.0) -> Iterator[pb.StylizeStreamRequest]:
    """Yield the set-up and the frames of a stream, with a pause in seconds between them."""
    yield pb.StylizeStreamRequest(setup=pb.StreamSetup(styles=[pb.WeightedStyle(image=picture(64))]))
    for _ in range(count):
        time.sleep(pause)
        yield pb.StylizeStreamRequest(content=picture(64))


def call_without_a_message(channel: grpc.Channel, method: str, requests: Iterator[bytes]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        if method == STREAM:
            next(channel.stream_stream(method)(requests, timeout=30))
        else:
            channel.stream_unary(method)(requests, timeout=30)
    return caught.value


@pytest.mark.parametrize("method", [STYLIZE, STREAM, "/stylewire.v1.Stylizer/GetModel"])
def test_a_message_that_never_comes_ends_the_call(
    serving: Serving, never: Callable[[], Iterator[bytes]], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interceptor, "MESSAGE_SECONDS", 0.3)
    with serving.channel() as channel:
        error = call_without_a_message(channel, method, never())
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "the call's message did not arrive within 0.3 s" in error.details()
    until(lambda: serving.open() == (0, 0))
    assert serving.ended.codes == [grpc.StatusCode.DEADLINE_EXCEEDED]


def test_what_has_begun_in_time_may_take_longer(
    serving: Serving, stylizer: Stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work on a picture, and the frames of a stream after its first message."""
    monkeypatch.setattr(interceptor, "MESSAGE_SECONDS", 2.0)
    work = stylizer.stylize

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(2.5)
        return work(*args, **kwargs)

    monkeypatch.setattr(stylizer, "stylize", slow)
    with serving.channel() as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        call = stub.Stylize.future(request(), timeout=60)
        assert len(list(stub.StylizeStream(frames(1, pause=2.5), timeout=60))) == 1
        assert call.result().width == 256


def test_places_come_back_after_answers(serving: Serving) -> None:
    with serving.channel() as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        for _ in range(2 * CALLS):
            assert stub.GetModel(pb.GetModelRequest(), timeout=60).edition == "lite"
            assert stub.Stylize(request(), timeout=60).width == 256
        for _ in range(2 * STREAMS):
            assert len(list(stub.StylizeStream(frames(2), timeout=60))) == 2
            until(lambda: serving.open() == (0, 0))
    assert set(serving.ended.codes) == {grpc.StatusCode.OK}


def test_places_come_back_after_errors(serving: Serving) -> None:
    with serving.channel() as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        for _ in range(2 * CALLS):
            for call in (
                lambda: stub.Stylize(pb.StylizeRequest(), timeout=60),
                lambda: stub.Stylize(request(8), timeout=60),
                lambda: next(stub.StylizeStream(iter([pb.StylizeStreamRequest()]), timeout=60)),
                lambda: channel.unary_unary(STYLIZE)(b"\xff\xff", timeout=60),
                lambda: channel.stream_unary(STYLIZE)(iter([]), timeout=60),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    call()
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                until(lambda: serving.open() == (0, 0))


@pytest.mark.parametrize("method", [STYLIZE, STREAM])
def test_places_come_back_after_a_cancel(serving: Serving, never: Callable[[], Iterator[bytes]], method: str) -> None:
    with serving.channel() as channel:
        kind = channel.stream_stream(method) if method == STREAM else channel.stream_unary(method).future
        calls = [kind(never(), timeout=60) for _ in range(STREAMS)]
        until(lambda: serving.calls.taken == STREAMS)
        assert serving.streams.taken == (STREAMS if method == STREAM else 0)
        for call in calls:
            call.cancel()
        until(lambda: serving.open() == (0, 0))


def test_places_come_back_after_a_cancel_at_work(serving: Serving) -> None:
    with serving.channel() as channel:
        calls = [stylizer_pb2_grpc.StylizerStub(channel).Stylize.future(request(1024), timeout=60) for _ in range(6)]
        until(lambda: serving.calls.taken == 6)
        for call in calls:
            call.cancel()
        until(lambda: serving.open() == (0, 0))
    until(lambda: serving.ended.codes == [grpc.StatusCode.CANCELLED] * 6)


def test_a_stream_too_many_takes_no_place_of_a_call(serving: Serving, never: Callable[[], Iterator[bytes]]) -> None:
    with serving.channel() as channel:
        streams = [channel.stream_stream(STREAM)(never(), timeout=60) for _ in range(STREAMS)]
        until(lambda: serving.open() == (STREAMS, STREAMS))
        for _ in range(CALLS):
            error = call_without_a_message(channel, STREAM, never())
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "the limit is 2 streams" in error.details()
        until(lambda: serving.open() == (STREAMS, STREAMS))
        for stream in streams:
            stream.cancel()
        until(lambda: serving.open() == (0, 0))


def test_a_call_too_many_takes_none_either(serving: Serving, never: Callable[[], Iterator[bytes]]) -> None:
    with serving.channel() as channel:
        calls = [channel.stream_unary(STYLIZE).future(never(), timeout=60) for _ in range(CALLS)]
        until(lambda: serving.open() == (CALLS, 0))
        for method in (STYLIZE, STREAM):
            error = call_without_a_message(channel, method, never())
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "the limit is 8 calls" in error.details()
        for call in calls:
            call.cancel()
        until(lambda: serving.open() == (0, 0))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("method", [STYLIZE, STREAM])
def test_places_come_back_after_a_client_that_vanishes(
    serving: Serving, open_wire: Callable[..., Any], method: str, share: float
) -> None:
    body = next(frames(0)) if method == STREAM else request(1024)
    for _ in range(3):
        wire = open_wire(serving.port)
        for stream in (1, 3):
            wire.head(stream, method)
            if share:
                wire.message(stream, body.SerializeToString(), share)
        until(lambda: serving.calls.taken == 2 or share == 1.0)
        wire.vanish()
        until(lambda: serving.open() == (0, 0))
    with serving.channel() as channel:
        assert stylizer_pb2_grpc.StylizerStub(channel).Stylize(request(), timeout=60).width == 256


def test_an_answer_holds_its_place_until_it_is_sent(serving: Serving, open_wire: Callable[..., Any]) -> None:
    """The 3 MB of it, of which a client that grants no window takes 64 kB (RFC 9113, 6.9.2)."""
    wire, raw = open_wire(serving.port), request(1024)
    raw.options.encoding = pb.ENCODING_RAW_PIXELS
    wire.head(1, STYLIZE)
    wire.message(1, raw.SerializeToString())
    until(lambda: serving.ended.codes == [grpc.StatusCode.OK])
    time.sleep(0.3)
    assert serving.open() == (1, 0)
    wire.grant(1, 4_000_000)
    until(lambda: serving.open() == (0, 0))
    wire.vanish()


@pytest.mark.parametrize("sent", [False, True])
def test_a_deadline_that_passes_counts_as_one(serving: Serving, open_wire: Callable[..., Any], sent: bool) -> None:
    """While the message is awaited, and at work; the client, whose clock may end a call first, stays silent."""
    wire = open_wire(serving.port)
    wire.head(1, STYLIZE, "50m")
    if sent:
        wire.message(1, request(2048).SerializeToString())
    until(lambda: serving.ended.codes == [grpc.StatusCode.DEADLINE_EXCEEDED])
    until(lambda: serving.open() == (0, 0))
    wire.vanish()


@pytest.mark.parametrize("timeout", ["", "60S"])
def test_a_client_that_vanishes_before_its_deadline_counts_as_one_that_cancels(
    serving: Serving, open_wire: Callable[..., Any], timeout: str
) -> None:
    wire = open_wire(serving.port)
    wire.head(1, STYLIZE, timeout)
    wire.message(1, request(2048).SerializeToString())
    until(lambda: serving.calls.taken == 1)
    time.sleep(0.1)
    wire.vanish()
    until(lambda: serving.ended.codes == [grpc.StatusCode.CANCELLED])
    until(lambda: serving.open() == (0, 0))


def watch(channel: grpc.Channel) -> grpc.Call:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)


def test_probes_have_places_of_their_own(serving: Serving, never: Callable[[], Iterator[bytes]]) -> None:
    with serving.channel() as channel:
        probe, service = health_pb2_grpc.HealthStub(channel), stylizer_pb2_grpc.StylizerStub(channel)
        watching = [watch(channel) for _ in range(PROBES)]
        assert [next(each).status for each in watching] == [SERVING] * PROBES
        for call in (lambda: next(watch(channel)), lambda: probe.Check(health_pb2.HealthCheckRequest(), timeout=60)):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "the limit is 3 probes" in caught.value.details()
        assert serving.open() == (0, 0)
        assert service.GetModel(pb.GetModelRequest(), timeout=60).edition == "lite"
        serving.set_health(NOT_SERVING)
        assert [next(each).status for each in watching] == [NOT_SERVING] * PROBES
        for each in watching:
            each.cancel()
        until(lambda: serving.probes.taken == 0)
        calls = [channel.stream_unary(STYLIZE).future(never(), timeout=60) for _ in range(CALLS)]
        until(lambda: serving.open() == (CALLS, 0))
        # The calls hold all the memory that one caller gets.
        assert probe.Check(health_pb2.HealthCheckRequest(), timeout=20).status == NOT_SERVING
        for call in calls:
            call.cancel()
    assert set(serving.ended.codes) <= {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}


def test_a_probe_that_does_not_read_holds_up_nobody(serving: Serving, open_wire: Callable[..., Any]) -> None:
    wire = open_wire(serving.port, window=0)
    wire.head(1, WATCH)
    wire.message(1, b"")
    until(lambda: serving.probes.taken == 1)
    time.sleep(0.2)
    with serving.channel() as channel:
        watching = watch(channel)
        assert next(watching).status == SERVING
        serving.set_health(NOT_SERVING)
        assert next(watching).status == NOT_SERVING
        watching.cancel()
    wire.vanish()
    until(lambda: serving.probes.taken == 0)


def test_a_damaged_probe_is_told_so(serving: Serving) -> None:
    with serving.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff", timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def large(size: int) -> pb.Image:
    return pb.Image(encoded=bytes(size))


@pytest.mark.parametrize("method", [STYLIZE, STREAM])
def test_a_message_too_large_counts_as_none_that_was_read(serving: Serving, method: str) -> None:
    """gRPC's own limit of 4 MiB; it answers itself, and says so to its caller alone."""
    with serving.channel() as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            if method == STREAM:
                later = [pb.StylizeStreamRequest(content=large(5_000_000))]
                list(stub.StylizeStream(iter([*frames(2), *later]), timeout=60))
            else:
                stub.Stylize(pb.StylizeRequest(content=large(5_000_000)), timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        until(lambda: serving.open() == (0, 0))
        until(lambda: serving.ended.codes == [grpc.StatusCode.CANCELLED])


def test_a_cancel_while_the_message_comes_counts_as_one(serving: Serving, open_wire: Callable[..., Any]) -> None:
    wire = open_wire(serving.port)
    wire.head(1, STYLIZE)
    wire.message(1, request(512).SerializeToString(), 0.5)
    until(lambda: serving.calls.taken == 1)
    wire.cancel(1)
    until(lambda: serving.ended.codes == [grpc.StatusCode.CANCELLED])
    wire.vanish()
