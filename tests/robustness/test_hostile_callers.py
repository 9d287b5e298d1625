"""Callers that hold resources: they do not read answers, send nothing, or upload slowly.

In each test, another caller still gets its pictures.
"""

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.admission.tokens import new_token
from stylewire_server.testing import until

MIB = 2**20
STYLIZE, STREAM = "/stylewire.v1.Stylizer/Stylize", "/stylewire.v1.Stylizer/StylizeStream"
RST_STREAM = 3


def cheap_giant(side: int = 2048) -> bytes:
    """Return a request of a few hundred bytes whose answer has side x side x 3."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 150)).save(out, "WEBP", lossless=True)
    picture = pb.Image(encoded=out.getvalue())
    return pb.StylizeRequest(
        content=picture,
        styles=[pb.WeightedStyle(image=picture)],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE, encoding=pb.ENCODING_RAW_PIXELS),
    ).SerializeToString()


def silent(channel: grpc.Channel, method: str, count: int, token: str = "") -> list[grpc.Future]:
    """Open calls that never send their message."""

    def never() -> Iterator[bytes]:
        time.sleep(120)
        yield from ()

    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    if method == STREAM:
        return [channel.stream_stream(method)(never(), timeout=100, metadata=metadata) for _ in range(count)]
    return [channel.stream_unary(method).future(never(), timeout=100, metadata=metadata) for _ in range(count)]


@pytest.fixture(scope="module")
def small(start_server) -> Iterator[Any]:
    """A server with a small limit on the memory of calls."""
    flags = ("--streams", "2", "--max-message-bytes", 2 * MIB, "--call-memory", 8 * MIB, "--max-calls", 64)
    running = start_server("--model", "lite", *flags)
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.log)


def test_answers_that_are_not_read_are_bounded_and_give_way(
    small, still_serves: Callable[[str], None], meter_of: Callable, open_wire: Callable
) -> None:
    """Three connections without a window ask for 30 answers of 0.8 MB: 24 MB in all, of which 8 MiB may be held."""
    still_serves(small.target)
    meter, request = meter_of(small.process.pid), cheap_giant(512)
    meter.start()
    wires = [open_wire(small.port, window=0) for _ in range(3)]
    for number in range(10):
        for wire in wires:
            wire.head(2 * number + 1, STYLIZE)
            wire.message(2 * number + 1, request)
        still_serves(small.target)
    _, growth = meter.spent()
    ended: set[tuple[int, int]] = set()

    def rest_fits() -> bool:
        """Return whether the calls neither refused nor reset fit into the limit; two answers may pass it together."""
        for number, wire in enumerate(wires):
            for kind, stream, body in wire.received():
                if kind == RST_STREAM or b"requests and answers hold" in body:
                    ended.add((number, stream))
        return (30 - len(ended) - 2) * 512 * 512 * 3 <= 8 * MIB

    until(rest_fits)  # On a slow machine, the last calls still wait for their turn.
    # Two jobs at a time compute 0.3 Mpx in 137 bytes a pixel; the rest is the limit on calls, twice where it is copied.
    assert growth < 2 * 8 * MIB + 300 * MIB, f"{growth / MIB:.0f} MiB"
    print(f"unread answers: peak +{growth / MIB:.0f} MiB")
    for wire in wires:
        wire.vanish()
    still_serves(small.target)


@pytest.fixture(scope="module")
def guarded(start_server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, str]]:
    """A server with few places for calls and streams, and the tokens of two accounts."""
    (greedy, entry), (modest, other) = new_token("greedy"), new_token("modest")
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"{entry}\n{other}\n")
    running = start_server("--model", "lite", "--tokens", tokens, "--max-calls", 20, "--max-streams", 4)
    yield running, greedy, modest
    assert running.stop() == 0


@pytest.mark.parametrize("method", [STYLIZE, STREAM])
def test_an_account_that_opens_all_calls_locks_nobody_out(
    guarded: tuple[Any, str, str], job: pb.StylizeRequest, method: str
) -> None:
    running, greedy, modest = guarded
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(running.target, options) as bad, grpc.insecure_channel(running.target, options) as good:
        calls = silent(bad, method, 30, greedy)
        limit = 4 if method == STREAM else 20
        until(lambda: sum(call.done() for call in calls) == 30 - limit)
        stub, metadata = stylizer_pb2_grpc.StylizerStub(good), (("authorization", f"Bearer {modest}"),)
        for _ in range(5):
            if method == STREAM:
                messages = [pb.StylizeStreamRequest(setup=pb.StreamSetup(styles=job.styles))]
                messages.append(pb.StylizeStreamRequest(content=job.content))
                (answer,) = stub.StylizeStream(iter(messages), timeout=60, metadata=metadata)
            else:
                answer = stub.Stylize(job, timeout=60, metadata=metadata)
            assert answer.width == 256
        until(lambda: sum(call.done() for call in calls) >= 31 - limit)
        assert {call.code() for call in calls if call.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        for call in calls:
            call.cancel()


def test_slow_uploads_hold_nobody_up(small, still_serves: Callable[[str], None], open_wire: Callable) -> None:
    """Ten connections begin messages of 2 MB and send a part of each: more than all the memory of calls."""
    wires = [open_wire(small.port) for _ in range(10)]
    for wire in wires:
        for stream in (1, 3, 5):
            wire.head(stream, STYLIZE)
            wire.begin_message(stream, 2 * MIB, 16_000)
    for _ in range(5):
        still_serves(small.target)
    for wire in wires:
        wire.vanish()


def test_an_answer_that_makes_no_progress_is_reset_and_its_connection_goes_on(
    start_server, open_wire: Callable, tmp_path: Path
) -> None:
    """A sitecustomize module of the test shortens the time limit inside the server's process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import stylewire_server.rpc.interceptor as interceptor\ninterceptor.ANSWER_SECONDS = 1.0\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    running = start_server("--model", "lite", env={"PYTHONPATH": path})
    wire = open_wire(running.port, window=0)
    wire.head(1, STYLIZE)
    wire.message(1, cheap_giant(512))
    until(lambda: any("has not read its answer within 1 s" in line for line in running.log))
    # The call that was accepted last is freed when the next one comes in.
    wire.head(3, "/stylewire.v1.Stylizer/GetModel")
    wire.message(3, b"")
    frames = wire.received(3.0)
    assert any(kind == RST_STREAM and stream == 1 for kind, stream, _ in frames)
    assert any(stream == 3 for _, stream, _ in frames)
    wire.vanish()
    assert running.stop() == 0


def test_wrong_tokens_are_slowed_and_a_right_one_is_let_in(guarded: tuple[Any, str, str]) -> None:
    running, _, token = guarded
    with grpc.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
        ask = stylizer_pb2_grpc.StylizerStub(channel).GetModel
        codes = []
        for number in range(250):
            with pytest.raises(grpc.RpcError) as caught:
                ask(pb.GetModelRequest(), timeout=20, metadata=(("authorization", f"Bearer wrong{number}"),))
            codes.append(caught.value.code())
        assert set(codes[:100]) == {grpc.StatusCode.UNAUTHENTICATED}
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(pb.GetModelRequest(), timeout=20, metadata=(("authorization", f"Bearer {token}"),)).edition == "lite"


def test_long_headers_are_refused(small, meter_of: Callable) -> None:
    meter = meter_of(small.process.pid)
    meter.start()
    with grpc.insecure_channel(small.target, [("grpc.enable_retries", 0)]) as channel:
        ask = stylizer_pb2_grpc.StylizerStub(channel).GetModel
        assert ask(pb.GetModelRequest(), timeout=20, metadata=(("x-note", "n" * 8000),)).edition == "lite"
        for size in (20_000, 1_000_000):
            with pytest.raises(grpc.RpcError) as caught:
                ask(pb.GetModelRequest(), timeout=20, metadata=(("x-note", "n" * size),))
            assert caught.value.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    assert meter.spent()[1] < 16 * MIB
