"""Load tests: many callers, a server that is killed, and a long run."""

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from stylewire import Client, StylewireError
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import until

SOAK_SECONDS = 600.0


@pytest.fixture(scope="module")
def running(start_server) -> Iterator[Any]:
    """A server for the tests that do not end it."""
    running = start_server("--model", "lite", "--log-level", "warning")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.log)


def test_two_hundred_callers_each_get_a_picture_or_a_typed_error(running, still_serves, job, outcomes) -> None:
    channels = [
        grpc.insecure_channel(running.target, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])
        for _ in range(200)
    ]
    stubs = [stylizer_pb2_grpc.StylizerStub(channel) for channel in channels]
    calls = [stub.Stylize.future(job, timeout=60) for _ in range(2) for stub in stubs]
    for call in calls:
        outcomes.add(call)
    for channel in channels:
        channel.close()
    assert sum(outcomes.codes.values()) == 400
    # The queue's 64 and those at work, at least, were promised a picture.
    assert outcomes.pictures >= 64
    still_serves(running.target)


def test_with_retries_all_of_two_hundred_callers_are_served_in_the_end(
    running, photo: Path, style_picture: Path
) -> None:
    results: Counter[str] = Counter()

    def caller() -> None:
        with Client(running.target, timeout=120) as client:
            for _ in range(40):
                try:
                    assert client.stylize(photo, style_picture).size == (256, 256)
                    results["picture"] += 1
                    return
                except StylewireError as error:
                    results[type(error).__name__] += 1
                    time.sleep(getattr(error, "retry_after", None) or 0.2)

    threads = [threading.Thread(target=caller) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert results["picture"] == 200, results
    assert set(results) <= {"picture", "ServerBusy", "DeadlineExceeded", "Unavailable"}


def test_kill_under_load_leaves_every_call_with_a_picture_or_a_typed_error(
    start_server, free_port, still_serves, photo: Path, style_picture: Path, long_form: bool
) -> None:
    port = free_port()
    flags = ("--model", "lite", "--log-level", "warning", "--port", port)
    running = start_server(*flags)
    ending = threading.Event()
    results: Counter[str] = Counter()
    wrong: list[BaseException] = []
    after_restart = threading.Event()
    served_again = threading.Event()

    def caller() -> None:
        with Client(f"127.0.0.1:{port}", timeout=30) as client:
            while not ending.is_set():
                try:
                    assert client.stylize(photo, style_picture).size == (256, 256)
                    results["picture"] += 1
                    if after_restart.is_set():
                        served_again.set()
                except StylewireError as error:
                    results[type(error).__name__] += 1
                except BaseException as error:
                    wrong.append(error)
                    return

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(10 if long_form else 2):
        enough = results["picture"] + 10
        until(lambda enough=enough: wrong or results["picture"] >= enough, "ten more pictures are made")
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        running = start_server(*flags)
        after_restart.set()
        served_again.clear()
        assert served_again.wait(60), results
        after_restart.clear()
    ending.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    still_serves(running.target)
    assert running.stop() == 0
    assert not wrong
    assert set(results) <= {"picture", "Unavailable", "ServerBusy", "DeadlineExceeded"}


def test_a_drain_under_load_finishes_what_it_took(start_server, job) -> None:
    """Every picture that the server counts has reached its caller, and every other call can be retried elsewhere."""
    # Time enough on a busy machine for what waits.
    running = start_server("--model", "lite", "--streams", "1", "--grace", "240")
    slow = pb.StylizeRequest()
    slow.CopyFrom(job)
    slow.options.fit = pb.FIT_NATIVE
    with grpc.insecure_channel(running.target, [("grpc.enable_retries", 0)]) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        stub.Stylize(slow, timeout=240)
        calls = [stub.Stylize.future(slow, timeout=240) for _ in range(30)]
        until(lambda: any(call.done() for call in calls), "a call is done")
        running.process.send_signal(signal.SIGTERM)
        codes = Counter(call.code() for call in calls)
    assert running.stop(timeout=240) == 0
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    served = sum("method=Stylize code=OK" in line for line in running.log)
    assert codes[grpc.StatusCode.OK] == served - 1
    (draining,) = [index for index, line in enumerate(running.log) if "draining: " in line]
    running_then, waiting_then = map(int, re.findall(r"(\d+) calls? running, (\d+) waiting", running.log[draining])[0])
    assert running_then > 0
    finished = sum("method=Stylize code=OK" in line for line in running.log[draining:])
    assert finished >= running_then + waiting_then
    assert not any("did not finish" in line for line in running.log)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_long_run_leaves_memory_descriptors_and_threads_flat(
    start_server, still_serves, vitals, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    """Mixed work for ten minutes: fits, sizes, styles that are new each time, bad pictures, callers that give up."""
    running = start_server("--model", "lite", "--log-level", "warning", "--cache-bytes", 100_000)
    look = vitals(running.process.pid)
    ending, done = threading.Event(), Counter()
    styles = style_picture.read_bytes(), other_style_picture.read_bytes()

    def caller(number: int) -> None:
        while not ending.is_set():
            with grpc.insecure_channel(running.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = stylizer_pb2_grpc.StylizerStub(channel)
                for turn in range(20):
                    fresh = f"{number} {time.monotonic()}".encode()
                    side = 64 + 8 * ((number + turn) % 24)
                    content = pb.Image(pixels=pb.Pixels(height=side, width=side, rgb=bytes(side * side * 3)))
                    if turn % 3:
                        content = pb.Image(encoded=photo.read_bytes() if turn % 5 else b"no picture" + fresh)
                    # Bytes after the end of a JPEG change its hash, so that the cache takes it for a new style.
                    style = pb.Image(encoded=styles[turn % 2] + (fresh if turn % 4 == 0 else b""))
                    fit = pb.FIT_NATIVE if turn % 3 == 0 else pb.FIT_CROP_256
                    request = pb.StylizeRequest(
                        content=content,
                        styles=[pb.WeightedStyle(image=style)],
                        options=pb.StylizeOptions(fit=fit, strength=0.5 if turn % 7 == 0 else 1.0),
                    )
                    try:
                        stub.Stylize(request, timeout=0.005 if turn % 11 == 0 else 30)
                        done["OK"] += 1
                    except grpc.RpcError as error:
                        done[error.code().name] += 1

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    samples = []
    for _ in range(60):
        time.sleep(SOAK_SECONDS / 60)
        samples.append(look.read())
    ending.set()
    for thread in threads:
        thread.join(60)
    still_serves(running.target)
    assert running.stop() == 0
    early, late = samples[10:20], samples[-10:]
    for name, slack in {"memory": 1.05, "descriptors": 1.2, "threads": 1.2}.items():
        first, last = (sorted(each[name] for each in part)[5] for part in (early, late))
        print(f"{name}: {first} after warm-up, {last} at the end")
        assert last <= first * slack, (name, samples)
    print(dict(done))
    assert set(done) <= {"OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    assert done["OK"] > 1000
