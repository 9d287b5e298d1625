"""Where the time of one warm call goes, and what it costs beside the bare transform.

One caller, no load: median over many calls of each stage as the server reports it, the whole call as the client sees
it, and the bare engine in this process, arranged alike.
"""

import statistics
from functools import partial
from typing import Any

import numpy as np
from stylewire import Client
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite
from stylewire_server.settings import ServeSettings

from .common import content_jpeg, interleaved, server, style_jpeg, summary, table, write
from .engine import as_it_comes as onnx_transform

ROUNDS = 200
STAGES = ("queue_ms", "decode_ms", "predict_ms", "transform_ms", "encode_ms")


def measure(name: str, flags: list[str], engine: OpenVinoEngine) -> dict[str, Any]:
    """One caller on a server with those flags, in turn with the bare engine arranged alike, and as it comes."""
    content, style = content_jpeg(), style_jpeg()
    picture = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    vector = engine.predict(picture)
    as_it_comes = partial(onnx_transform(256).infer, [picture.astype(np.float32) / 255, vector.reshape(1, 1, 1, -1)])
    timings = []
    command = ["-m", "stylewire_server", "serve", "--port", "0", "--model", "lite", "--log-level", "warning"]
    with server([*command, *flags]) as target, Client(target) as client:

        def call() -> None:
            timings.append(client.stylize_detailed(content, style).timings)

        transform = partial(engine.transform, picture, vector)
        contenders = {"call": call, "bare transform": transform, "int8 transform, all cores": as_it_comes}
        found = {name: summary(seconds) for name, seconds in interleaved(contenders, ROUNDS, block=25).items()}
    stages = {stage: statistics.median(getattr(timing, stage) for timing in timings[10:]) for stage in STAGES}
    stages["grpc and client"] = found["call"]["median_ms"] - sum(stages.values())
    print(f"\n{name}, {engine.precision}")
    table([{"stage": name, "median_ms": value} for name, value in stages.items()])
    table([{"whole": name, **values} for name, values in found.items()])
    ratio = found["call"]["median_ms"] / found["bare transform"]["median_ms"]
    print(f"whole call / bare transform: {ratio:.2f}")
    return {"arrangement": name, "precision": engine.precision, "stages_ms": stages, **found, "ratio": ratio}


def main() -> None:
    """Prints tables for the default of this machine and for a core a picture, and writes results/stages.json."""
    streams = ServeSettings().effective_streams
    arrangements = [
        measure("default", [], OpenVinoEngine(lite(), streams=streams, adaptive=True)),
        measure(f"--streams {streams}", ["--streams", str(streams)], OpenVinoEngine(lite(), streams=streams)),
    ]
    job = "JPEG 512x512 in, JPEG 256x256 out, style cached, one caller"
    write("stages", {"job": job, "arrangements": arrangements})


if __name__ == "__main__":
    main()
