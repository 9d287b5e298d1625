"""A load generator, which runs in a process of its own: `common.load` starts it and reads the JSON that it prints.

The job is a JPEG of 512x512 px of which 256x256 px are computed, or with `side` a JPEG of that side, computed whole.
The style is a JPEG of 512x512 px, or with `name` a named style. The message is serialized once.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
from stylewire.v1 import stylizer_pb2 as pb

from .common import content_jpeg, style_jpeg

METHOD = "/stylewire.v1.Stylizer/Stylize"

OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # Calls are shared among the addresses of a target.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
]

TIMEOUT = 30.0
"""Deadline of an open-loop call, in seconds."""


def message(side: int | None = None, name: str | None = None) -> bytes:
    """Return the serialized job."""
    style = pb.WeightedStyle(name=name) if name else pb.WeightedStyle(image=pb.Image(encoded=style_jpeg()))
    options = pb.StylizeOptions(fit=pb.FIT_NATIVE) if side else None
    content = pb.Image(encoded=content_jpeg(side or 512))
    return pb.StylizeRequest(content=content, styles=[style], options=options).SerializeToString()


async def closed(target: str, job: bytes, callers: int, seconds: float) -> dict[str, Any]:
    """Let each caller send its next call when the last is answered.

    The clock starts when each caller has had one answer.

    Returns:
        Pictures a second, and the latency of each call in seconds.
    """
    latencies: list[float] = []
    async with AsyncExitStack() as channels:
        opened = [
            await channels.enter_async_context(grpc.aio.insecure_channel(target, OPTIONS)) for _ in range(callers)
        ]
        calls = [channel.unary_unary(METHOD) for channel in opened]
        await asyncio.gather(*(call(job) for call in calls))
        first = time.perf_counter()

        async def caller(call: Any) -> None:
            while (start := time.perf_counter()) < first + seconds:
                await call(job)
                latencies.append(time.perf_counter() - start)

        await asyncio.gather(*map(caller, calls))
        return {"rate": len(latencies) / (time.perf_counter() - first), "latencies": latencies}


async def open_loop(
    target: str, job: bytes, rate: float, seconds: float, connections: int = 1, at_random: bool = False
) -> dict[str, Any]:
    """Send calls at that rate, whatever has been answered. Latency counts from when a call was due.

    Args:
        target, job: The server and the message.
        rate: Calls a second.
        seconds: For how long they are sent.
        connections: Calls go over these in turn.
        at_random: Send at random moments (a Poisson process with a fixed seed), in place of even intervals.

    Returns:
        Pictures a second, latencies of pictures and of failures in seconds, the status codes, pictures a second that
        came while calls were sent ("goodput"), and what the generator itself took and how late it was.
    """
    codes: Counter[str] = Counter()
    latencies: list[float] = []
    refused: list[float] = []
    in_time = 0
    rng = random.Random(7)
    async with AsyncExitStack() as channels:
        opened = [
            await channels.enter_async_context(grpc.aio.insecure_channel(target, OPTIONS)) for _ in range(connections)
        ]
        calls = [channel.unary_unary(METHOD) for channel in opened]
        for call in calls:
            await call(job)

        async def one(number: int, due: float) -> None:
            nonlocal in_time
            try:
                await calls[number % connections](job, timeout=TIMEOUT)
                codes["OK"] += 1
                latencies.append(time.perf_counter() - due)
                in_time += time.perf_counter() < start + seconds
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
                refused.append(time.perf_counter() - due)

        before = resource.getrusage(resource.RUSAGE_SELF)
        start = due = time.perf_counter() + 0.2
        tasks: list[asyncio.Task] = []
        late = 0.0
        while due < start + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            late = max(late, time.perf_counter() - due)
            tasks.append(asyncio.create_task(one(len(tasks), due)))
            due += rng.expovariate(rate) if at_random else 1 / rate
        after = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.gather(*tasks)
        whole = time.perf_counter() - start
    return {
        "sent": len(tasks),
        "rate": len(latencies) / whole,
        "goodput": in_time / seconds,
        "latencies": latencies,
        "refused": refused,
        "codes": dict(codes),
        "generator_cores": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds,
        "generator_late_ms": late * 1e3,
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    work = {"closed": closed, "open": open_loop}[given.pop("kind")]
    job = message(given.pop("side", None), given.pop("name", None))
    print(json.dumps(asyncio.run(work(job=job, **given))))
