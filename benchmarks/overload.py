"""Overload: what a server still gets done under too many calls, how late, and what a refusal costs.

    python -m benchmarks overload [--side 512] [--rounds 3] [--seconds 10] [--connections 16] [FLAG ...]
    python -m benchmarks overload --refusals

Calls come at 0.5, 0.9, 2 and 5 times the server's capacity, at random moments over several connections, whatever has
been answered. None is tried again. Capacity is what a few callers get that each wait for their answer, measured anew
before and after each load, so that a drift of the machine meets both sides of the ratio. FLAGs go to `serve`.
`--model random` makes the full edition's graph with random weights, which costs what the published ones do.

The job is a whole picture of that side (FIT_NATIVE) in a named style. The load generator is a process of its own on the
same cores. What it takes is in the table: the server cannot have these cores, and on two machines it would. Sending and
refusing a call takes gRPC about the same time whatever the job is. So the shorter the job, the larger the share of the
cores that goes there at the same multiple of capacity.

With --refusals: CPU time of a refusal for a full queue, by this server and by a bare gRPC handler that refuses
everything. Both run in a process of their own with nothing else to do: this server with its interceptor, metrics, log
and queue, whose one worker is busy for good; the other with a handler of one line. Calls with a 64 kB message come at
50, 200 and 800 a second over 16 connections. The figure falls with the rate, as gRPC's threads wake less often for each
call.
"""

import asyncio
import statistics
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from stylewire import Client
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
from stylewire_server.testing import ServerProcess, running_server

from .common import cpu_seconds, load, parser, percentile, server_flags, serving, style_jpeg, table, write
from .load import METHOD, OPTIONS

SHARES = (0.5, 0.9, 2.0, 5.0)
CALLERS = 8
NAME = "waves"

REFUSAL_RATES = (50, 200, 800)
REFUSAL_CONNECTIONS = 16
REFUSAL_SECONDS = 5.0
REFUSAL_ROUNDS = 3


def measure(target: str, side: int, rounds: int, seconds: float, connections: int) -> list[dict[str, Any]]:
    """Return a row of medians for each share of the capacity."""
    job = {"side": side, "name": NAME}
    found: dict[float, list[dict[str, Any]]] = {share: [] for share in SHARES}
    before = load(target, "closed", CALLERS, seconds, **job)["rate"]
    for _ in range(rounds):
        for share in SHARES:
            row = load(target, "open", share * before, seconds, connections=connections, at_random=True, **job)
            after = load(target, "closed", CALLERS, seconds, **job)["rate"]
            full, before = (before + after) / 2, after
            good, refused = row.pop("latencies"), row.pop("refused")
            expected = min(full, row["sent"] / seconds)
            found[share].append(
                {
                    "capacity": full,
                    **row,
                    "p50_ms": percentile(good, 0.5) * 1e3 if good else None,
                    "p99_ms": percentile(good, 0.99) * 1e3 if good else None,
                    "refused": len(refused),
                    "refused_p99_ms": percentile(refused, 0.99) * 1e3 if refused else 0.0,
                    "of_expected": row["goodput"] / expected,
                }
            )
    return [_median(share, rows) for share, rows in found.items()]


def _median(share: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    medians = {
        key: statistics.median(row[key] for row in rows)
        for key, value in rows[0].items()
        if isinstance(value, (int, float))
    }
    codes = sum((Counter(row["codes"]) for row in rows), Counter())
    return {"load": share, **medians, "of_expected_all": [row["of_expected"] for row in rows], "codes": dict(codes)}


async def ours() -> tuple[grpc.aio.Server, asyncio.Task]:
    """Return this server's own parts around a queue that is full, and the job that fills it."""
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
    """Return a server that does nothing but refuse."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    made = grpc.aio.server()
    handlers = {"Stylize": grpc.stream_unary_rpc_method_handler(refuse)}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("stylewire.v1.Stylizer", handlers),))
    return made, None


async def serve_refusals(kind: str) -> None:
    """Run one of the two until it is terminated."""
    made, _occupied = await (ours() if kind == "ours" else bare())  # asyncio itself keeps no task alive
    port = made.add_insecure_port("127.0.0.1:0")
    await made.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    await made.wait_for_termination()


async def cost_of_refusal(server: ServerProcess, rate: float) -> float:
    """Return milliseconds of the server's CPU time for each call, at that many calls a second."""
    message = pb.StylizeRequest(content=pb.Image(encoded=bytes(64_000))).SerializeToString()
    channels = [grpc.aio.insecure_channel(server.target, OPTIONS) for _ in range(REFUSAL_CONNECTIONS)]
    calls = [channel.unary_unary(METHOD) for channel in channels]

    async def one(number: int) -> None:
        try:
            await calls[number % REFUSAL_CONNECTIONS](message, timeout=20)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        else:
            raise AssertionError("a call was not refused")

    await asyncio.gather(*map(one, range(REFUSAL_CONNECTIONS)))
    before, start, count = cpu_seconds(server), asyncio.get_running_loop().time(), int(rate * REFUSAL_SECONDS)
    tasks = []
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - asyncio.get_running_loop().time()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    used = cpu_seconds(server) - before
    for channel in channels:
        await channel.close()
    return used / count * 1e3


def refusals() -> list[dict[str, Any]]:
    """Return a row for each rate of refused calls."""
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(REFUSAL_ROUNDS):
        for kind in ("bare", "ours"):
            with running_server(command=(sys.executable, "-m", "benchmarks.overload", kind)) as server:
                for rate in REFUSAL_RATES:
                    found.setdefault((kind, rate), []).append(asyncio.run(cost_of_refusal(server, rate)))
    median = {key: statistics.median(values) for key, values in found.items()}
    return [
        {
            "calls a second": rate,
            "bare, ms": median["bare", rate],
            "ours, ms": median["ours", rate],
            "ours / bare": statistics.median(
                a / b for a, b in zip(found["ours", rate], found["bare", rate], strict=True)
            ),
        }
        for rate in REFUSAL_RATES
    ]


def main() -> None:
    """Print a table and write results/overload_<edition>_<side>.json, or results/refusal.json."""
    arguments = parser(__doc__)
    arguments.add_argument("--refusals", action="store_true", help="measure what a refusal costs, and nothing else")
    arguments.add_argument("--side", type=int, default=512)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=10.0)
    arguments.add_argument("--connections", type=int, default=16)
    given, flags = arguments.parse_known_args()
    if given.refusals:
        rows = refusals()
        table(rows)
        write("refusal", {"job": "64 kB messages, all refused, loopback", "rows": rows})
        return
    flags = flags or ["--model", "lite"]
    with tempfile.TemporaryDirectory() as scratch:
        used = server_flags(flags, Path(scratch))
        with serving("--data-dir", scratch, *used) as server:
            with Client(server.target) as client:
                client.styles.create(NAME, style_jpeg())
                edition = client.model().edition
            rows = measure(server.target, given.side, given.rounds, given.seconds, given.connections)
    shown = (
        "load",
        "capacity",
        "sent",
        "goodput",
        "of_expected",
        "p50_ms",
        "p99_ms",
        "refused",
        "refused_p99_ms",
        "generator_cores",
    )
    table([{key: row[key] for key in shown} for row in rows])
    job = f"JPEG {given.side}x{given.side} in, FIT_NATIVE, JPEG out, named style, loopback"
    write(
        f"overload_{edition}_{given.side}",
        {"job": job, "flags": flags, "rounds": given.rounds, "seconds": given.seconds, "rows": rows},
    )


if __name__ == "__main__":
    asyncio.run(serve_refusals(sys.argv[1]))
