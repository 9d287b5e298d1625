"""Open-loop load at 0.5, 0.9, 2 and 5 times the server's capacity: how much it still gets done, and how late.

    python -m benchmarks overload [--side 512] [--rounds 3] [--seconds 10] [--connections 16] [SERVER FLAG …]

Calls come at random moments (a Poisson process with a fixed seed) over several connections, whatever has been answered;
none is tried again. Capacity is what a few callers get that each wait for their answer, measured anew before and after
each load, so that a drift of the machine meets both sides of the ratio. FLAGs go to `serve`; `--model random` makes the
full edition's graph with random weights, which costs what the published ones do.

The job is a whole picture of that side (FIT_NATIVE) in a style that the server keeps by name. The load generator is a
process of its own on the same cores; its message is serialised once. What it takes all the same is in the table: cores
that the server cannot have, and that on two machines it would. To send a call and to refuse it takes gRPC about the
same time whatever the job is: the shorter the job, the more of the cores goes there at the same multiple of capacity.
"""

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc.aio
from stylewire import Client
from stylewire.v1 import stylizer_pb2 as pb

from .common import ROOT, content_jpeg, percentile, served, server, style_jpeg, table, write

SHARES = (0.5, 0.9, 2.0, 5.0)
CALLERS = 8
TIMEOUT = 20.0
NAME = "waves"
METHOD = "/stylewire.v1.Stylizer/Stylize"
OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


def message(side: int) -> bytes:
    """The job, serialised: a picture of side x side px."""
    options = pb.StylizeOptions(fit=pb.FIT_NATIVE)
    content, style = pb.Image(encoded=content_jpeg(side)), pb.WeightedStyle(name=NAME)
    return pb.StylizeRequest(content=content, styles=[style], options=options).SerializeToString()


async def capacity(target: str, side: int, seconds: float) -> dict[str, Any]:
    """Pictures a second with a few callers that each wait for their answer."""
    job, done = message(side), 0

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


async def overload(target: str, side: int, rate: float, seconds: float, connections: int) -> dict[str, Any]:
    """Calls at that rate; what came of them within the time that they came in."""
    job, rng = message(side), random.Random(7)
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
    command = [sys.executable, "-m", "benchmarks.overload", "--round", *map(str, arguments)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def measure(target: str, side: int, rounds: int, seconds: float, connections: int) -> list[dict[str, Any]]:
    """A row of medians for each share of the capacity."""
    found: dict[float, list[dict[str, Any]]] = {share: [] for share in SHARES}
    before = child("capacity", target, side, seconds)["per_second"]
    for _ in range(rounds):
        for share in SHARES:
            row = child("overload", target, side, share * before, seconds, connections)
            after = child("capacity", target, side, seconds)["per_second"]
            full, before = (before + after) / 2, after
            expected = min(full, row["sent"] / seconds)
            found[share].append({"capacity": full, **row, "of_expected": row["goodput"] / expected})
    return [_median(share, rows) for share, rows in found.items()]


def _median(share: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    medians = {
        key: statistics.median(row[key] for row in rows)
        for key, value in rows[0].items()
        if isinstance(value, (int, float))
    }
    codes = sum((Counter(row["codes"]) for row in rows), Counter())
    return {"load": share, **medians, "of_expected_all": [row["of_expected"] for row in rows], "codes": dict(codes)}


def main() -> None:
    """Prints a table and writes results/overload_<edition>_<side>.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=16)
    arguments, flags = parser.parse_known_args()
    flags = flags or ["--model", "lite"]
    with tempfile.TemporaryDirectory() as scratch:
        command = ["-m", "stylewire_server", "serve", "--port", "0", "--log-level", "warning", "--data-dir", scratch]
        with server([*command, *served(flags, Path(scratch))]) as target:
            with Client(target) as client:
                client.styles.create(NAME, style_jpeg())
                edition = client.model().edition
            rows = measure(target, arguments.side, arguments.rounds, arguments.seconds, arguments.connections)
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
    job = f"JPEG {arguments.side}x{arguments.side} in, FIT_NATIVE, JPEG out, named style, loopback"
    write(
        f"overload_{edition}_{arguments.side}",
        {"job": job, "flags": flags, "rounds": arguments.rounds, "seconds": arguments.seconds, "rows": rows},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--round"]:
        kind, target, side, *numbers = sys.argv[2:]
        if kind == "capacity":
            found = asyncio.run(capacity(target, int(side), float(numbers[0])))
        else:
            rate, seconds, connections = map(float, numbers)
            found = asyncio.run(overload(target, int(side), rate, seconds, int(connections)))
        print(json.dumps(found))
    else:
        main()
