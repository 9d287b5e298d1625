"""What a refusal for a full queue costs this server, against a bare gRPC handler that refuses everything.

Both servers run in a process of their own with nothing else to do: ours with its interceptor, metrics, log and queue,
whose one worker is busy for good and where nothing may wait; the other with a handler of one line. Calls with a 64 kB
message come at 50, 200 and 800 a second over 16 connections; the figure is processor time of the server a call. It
falls with the rate, as gRPC's threads wake less often for each call.
"""

import asyncio
import os
import statistics
import sys
import threading
from typing import Any

import grpc
import grpc.aio
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.admission.guard import Guard
from stylewire_server.admission.memory import CallMemory
from stylewire_server.admission.open_calls import OpenCallLimit
from stylewire_server.rpc.interceptor import CallInterceptor
from stylewire_server.rpc.loaded import Loaded
from stylewire_server.rpc.stylizer import StylizerServicer
from stylewire_server.rpc.wire_scan import MessageBounds
from stylewire_server.scheduler import Scheduler
from stylewire_server.telemetry.logs import CallLog
from stylewire_server.telemetry.metrics import Metrics

from .common import server, server_proc, table, write

RATES = (50, 200, 800)
CONNECTIONS = 16
SECONDS = 5.0
ROUNDS = 3
METHOD = "/stylewire.v1.Stylizer/Stylize"
OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


async def ours() -> tuple[grpc.aio.Server, asyncio.Task]:
    """This server's own parts around a queue that is full, and the job that fills it."""
    scheduler = Scheduler(1, 0)
    free, loop = threading.Event(), asyncio.get_running_loop()
    occupied = loop.create_task(scheduler.run(lambda _: free.wait(), "nobody"))
    await asyncio.sleep(0)
    watchers = [Metrics(), CallLog()]
    calls, streams, probes = (OpenCallLimit(number, "calls") for number in (4096, 64, 64))
    guard = Guard(None, calls, streams, scheduler.check_room, watchers)
    interceptor = CallInterceptor(guard, probes, CallMemory(2**29), MessageBounds(16, 256), 2**22)
    made = grpc.aio.server(interceptors=[interceptor])
    stylizer_pb2_grpc.add_StylizerServicer_to_server(StylizerServicer(scheduler, Loaded()), made)
    return made, occupied


async def bare() -> tuple[grpc.aio.Server, None]:
    """Nothing but the refusal."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    made = grpc.aio.server()
    handlers = {"Stylize": grpc.stream_unary_rpc_method_handler(refuse)}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stylewire.v1.Stylizer", handlers),))
    return made, None


async def serve(kind: str) -> None:
    """One of the two, until it is ended."""
    made, _occupied = await (ours() if kind == "ours" else bare())  # asyncio itself keeps no task alive
    port = made.add_insecure_port("127.0.0.1:0")
    await made.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    await made.wait_for_termination()


async def refused(target: str, rate: float) -> float:
    """Milliseconds of the server's processor time for each call, at that many calls a second."""
    message = pb.StylizeRequest(content=pb.Image(encoded=bytes(64_000))).SerializeToString()
    channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(CONNECTIONS)]
    calls = [channel.unary_unary(METHOD) for channel in channels]

    async def one(number: int) -> None:
        try:
            await calls[number % CONNECTIONS](message, timeout=20)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        else:
            raise AssertionError("a call was not refused")

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    before, start, count = _server_seconds(), asyncio.get_running_loop().time(), int(rate * SECONDS)
    tasks = []
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - asyncio.get_running_loop().time()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    used = _server_seconds() - before
    for channel in channels:
        await channel.close()
    return used / count * 1e3


def _server_seconds() -> float:
    """Processor time of the server."""
    fields = (server_proc() / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Prints a table and writes results/refusal.json."""
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for kind in ("bare", "ours"):
            with server(["-m", "benchmarks.refusal", kind]) as target:
                for rate in RATES:
                    found.setdefault((kind, rate), []).append(asyncio.run(refused(target, rate)))
    median = {key: statistics.median(values) for key, values in found.items()}
    rows = [
        {
            "calls a second": rate,
            "bare, ms": median["bare", rate],
            "ours, ms": median["ours", rate],
            "ours / bare": statistics.median(
                a / b for a, b in zip(found["ours", rate], found["bare", rate], strict=True)
            ),
        }
        for rate in RATES
    ]
    table(rows)
    write("refusal", {"job": "64 kB messages, all refused, loopback", "rows": rows})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(sys.argv[1]))
    else:
        main()
