"""Load on a server, as a process of its own: `load.py TARGET closed CALLERS SECONDS [SIDE]`, or `open RATE SECONDS`.

Without SIDE the job is a 512x512 px JPEG, 256x256 px computed. With it: a JPEG of SIDE x SIDE px, computed whole.
Prints one JSON object: pictures per second, and the latency of each call in seconds.
"""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack

import grpc.aio
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

from .common import content_jpeg, style_jpeg

ROUND_ROBIN = ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')
"""Share calls among the addresses of a target."""


def request(side: int | None) -> pb.StylizeRequest:
    """A JPEG content and a JPEG style of 512x512 px."""
    style = pb.WeightedStyle(image=pb.Image(encoded=style_jpeg()))
    if side is None:
        return pb.StylizeRequest(content=pb.Image(encoded=content_jpeg()), styles=[style])
    options = pb.StylizeOptions(fit=pb.FIT_NATIVE)
    return pb.StylizeRequest(content=pb.Image(encoded=content_jpeg(side)), styles=[style], options=options)


async def closed(target: str, callers: int, seconds: float, side: int | None) -> dict:
    """Each caller sends its next call when the last is answered; the clock starts when each has been answered once."""
    message, latencies = request(side), []
    async with AsyncExitStack() as channels:
        options = [("grpc.use_local_subchannel_pool", 1), ROUND_ROBIN]
        opened = [
            await channels.enter_async_context(grpc.aio.insecure_channel(target, options)) for _ in range(callers)
        ]
        stubs = [stylizer_pb2_grpc.StylizerStub(channel) for channel in opened]
        await asyncio.gather(*(stub.Stylize(message) for stub in stubs))
        first = time.perf_counter()

        async def caller(stub: stylizer_pb2_grpc.StylizerStub) -> None:
            while (start := time.perf_counter()) < first + seconds:
                await stub.Stylize(message)
                latencies.append(time.perf_counter() - start)

        await asyncio.gather(*(caller(stub) for stub in stubs))
        return {"rate": len(latencies) / (time.perf_counter() - first), "latencies": latencies}


async def open_loop(target: str, rate: float, seconds: float, side: int | None) -> dict:
    """Calls at even intervals, whatever has been answered; latency counts from when a call was due."""
    message, latencies, failed = request(side), [], 0
    async with grpc.aio.insecure_channel(target, [("grpc.enable_retries", 0), ROUND_ROBIN]) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        await stub.Stylize(message)

        async def call(due: float) -> None:
            nonlocal failed
            try:
                await stub.Stylize(message, timeout=30)
                latencies.append(time.perf_counter() - due)
            except grpc.aio.AioRpcError:
                failed += 1

        start, tasks = time.perf_counter() + 0.1, []
        for index in range(int(rate * seconds)):
            due = start + index / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(call(due)))
        await asyncio.gather(*tasks)
    return {"rate": len(latencies) / (time.perf_counter() - start), "latencies": latencies, "failed": failed}


if __name__ == "__main__":
    _, target, kind, amount, seconds, *rest = sys.argv
    side = int(rest[0]) if rest else None
    work = (
        closed(target, int(amount), float(seconds), side)
        if kind == "closed"
        else open_loop(target, float(amount), float(seconds), side)
    )
    print(json.dumps(asyncio.run(work)))
