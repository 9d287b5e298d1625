"""A server with the default settings in 2 GB of memory, under all attacks at one time."""

import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import grpc
import pytest
from stylewire.v1 import stylizer_pb2 as pb
from stylewire_server.testing import ServerProcess

GIB = 2**30
MESSAGE = 38 * 2**20

LIMITED = (
    "import os, resource, sys\n"
    f"resource.setrlimit(resource.RLIMIT_AS, (2 * {GIB}, 2 * {GIB}))\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

STYLIZE, INFER = "/stylewire.v1.Stylizer/Stylize", "/inference.GRPCInferenceService/ModelInfer"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced on Linux alone")
def test_a_server_in_two_gigabytes_survives_and_a_small_caller_gets_pictures(
    still_serves: Callable[[str], None], open_wire: Callable, job: pb.StylizeRequest
) -> None:
    command = (sys.executable, "-c", LIMITED, "-m", "stylewire_server", "serve", "--port", "0", "--model", "lite")
    running = ServerProcess("--log-level", "warning", command=command)
    end = threading.Event()
    bodies = [
        (STYLIZE, b"\x12\x03\x12\x01a" * (MESSAGE // 5)),
        (STYLIZE, b"\x12\x00" * (MESSAGE // 2)),
        (INFER, b"\x2a\x00" * (MESSAGE // 2)),
        (STYLIZE, job.SerializeToString() + b"\x0a\x80\x80\x80\x10"),
        (STYLIZE, bytes(MESSAGE)),
    ]

    def flood(seed: int) -> None:
        rng = random.Random(seed)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        with grpc.insecure_channel(running.target, options) as channel:
            while not end.is_set():
                method, body = rng.choice(bodies)
                calls = [channel.unary_unary(method).future(body, timeout=20) for _ in range(8)]
                for call in calls:
                    with suppress(grpc.RpcError):
                        call.result()

    threads = [threading.Thread(target=flood, args=(seed,)) for seed in range(2)]
    silent = [open_wire(running.port, window=0) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for wire in silent:
            for stream in range(1, 200, 2):
                wire.head(stream, STYLIZE)
                wire.begin_message(stream, MESSAGE, 16_000)
        for _ in range(8):
            still_serves(running.target)
            time.sleep(0.5)
    finally:
        end.set()
        for thread in threads:
            thread.join()
        for wire in silent:
            wire.vanish()
    still_serves(running.target)
    assert running.stop() == 0, "\n".join(running.log[-20:])
