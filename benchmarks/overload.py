"""Open-loop load at 0.5, 0.9, 2 and 5 times the server's capacity: how much it still gets done, and how late.

Calls come at random moments (a Poisson process with a fixed seed) over several connections, whatever has been answered;
none is tried again. The load generator is a process of its own on the same cores. So that it stays small beside the
server at 5 times capacity, the job is a whole 512x512 px picture (FIT_NATIVE) that takes long against its size on the
wire, and its message is serialised once. What the generator takes all the same is in the table: a share of the cores
that the server cannot have, and that on two machines it would.

    python benchmarks/overload.py [--seconds 20] [--connections 16] [SERVER FLAGS …]
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import grpc.aio
from common import content_jpeg, percentile, server, style_jpeg, table, write
from stylewire.v1 import stylizer_pb2 as pb

SHARES = (0.5, 0.9, 2.0, 5.0)
CALLERS = 8
TIMEOUT = 20.0
METHOD = "/stylewire.v1.Stylizer/Stylize"
OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


def message() -> bytes:
    """The job, serialised."""
    style = pb.WeightedStyle(image=pb.Image(encoded=style_jpeg()))
    options = pb.StylizeOptions(fit=pb.FIT_NATIVE)
    return pb.StylizeRequest(
        content=pb.Image(encoded=content_jpeg()), styles=[style], options=options
    ).SerializeToString()


async def capacity(target: str, seconds: float) -> dict[str, Any]:
    """Pictures a second with a few callers that each wait for their answer."""
    job, done = message(), 0

    async def caller() -> None:
        nonlocal done
        async with grpc.aio.insecure_channel(target, OPTIONS) as channel:
            call = channel.unary_unary(METHOD)
            await call(job)
            await asyncio.sleep(max(0.0, start - time.perf_counter()))
            while time.perf_counter() < start + seconds:
                await call(job)
                done += time.perf_counter() < start + seconds

    start = time.perf_counter() + 2.0
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return {"per_second": done / seconds}


async def overload(target: str, rate: float, seconds: float, connections: int) -> dict[str, Any]:
    """Calls at that rate; what came of them within the time that they came in."""
    job, rng = message(), random.Random(7)
    channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(connections)]
    calls = [channel.unary_unary(METHOD) for channel in channels]
    for call in calls:
        await call(job)
    codes: Counter[str] = Counter()
    good, refused, in_time = [], [], 0

    async def one(number: int, due: float) -> None:
        nonlocal in_time
        try:
            await calls[number % connections](job, timeout=TIMEOUT)
            codes["OK"] += 1
            good.append(time.perf_counter() - due)
            in_time += time.perf_counter() < start + seconds
        except grpc.aio.AioRpcError as error:
            codes[error.code().name] += 1
            refused.append(time.perf_counter() - due)

    before = resource.getrusage(resource.RUSAGE_SELF)
    start = due = time.perf_counter() + 0.2
    tasks, late = [], 0.0
    while due < start + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late = max(late, time.perf_counter() - due)
        tasks.append(asyncio.create_task(one(len(tasks), due)))
        due += rng.expovariate(rate)
    after = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*tasks)
    for channel in channels:
        await channel.close()
    return {
        "sent": len(tasks),
        "goodput": in_time / seconds,
        "p50_ms": percentile(good, 0.5) * 1e3 if good else None,
        "p99_ms": percentile(good, 0.99) * 1e3 if good else None,
        "refused": len(refused),
        "refused_p99_ms": percentile(refused, 0.99) * 1e3 if refused else 0.0,
        "codes": dict(codes),
        "generator_cores": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds,
        "generator_late_ms": late * 1e3,
    }


def child(*arguments: object) -> dict[str, Any]:
    """One round in a process of its own."""
    command = [sys.executable, __file__, "--round", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Prints a table and writes results/overload.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=16)
    arguments, flags = parser.parse_known_args()
    command = ["-m", "stylewire_server", "serve", "--port", "0", "--model", "lite", "--log-level", "warning", *flags]
    rows = []
    with server(command) as target:
        full = child("capacity", target, arguments.seconds)["per_second"]
        print(f"capacity: {full:.1f} pictures a second, {CALLERS} callers\n")
        for share in SHARES:
            found = child("overload", target, share * full, arguments.seconds, arguments.connections)
            rows.append({"load": share, "offered": share * full, **found, "of_capacity": found["goodput"] / full})
    shown = (
        "load",
        "offered",
        "goodput",
        "of_capacity",
        "p50_ms",
        "p99_ms",
        "refused",
        "refused_p99_ms",
        "generator_cores",
    )
    table([{key: row[key] for key in shown} for row in rows])
    job = "JPEG 512x512 in, FIT_NATIVE, JPEG out, style cached, loopback"
    write("overload", {"job": job, "flags": flags, "seconds": arguments.seconds, "capacity": full, "rows": rows})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        kind, target, *numbers = sys.argv[2:]
        if kind == "capacity":
            found = asyncio.run(capacity(target, float(numbers[0])))
        else:
            rate, seconds, connections = map(float, numbers)
            found = asyncio.run(overload(target, rate, seconds, int(connections)))
        print(json.dumps(found))
    else:
        main()
