"""Where the time of one warm call goes, and what it costs beside the bare transform.

One caller, no load: median over many calls of each stage as the server reports it, the whole call as the client sees
it, and the bare engine in this process with the same number of threads.
"""

import statistics

import numpy as np
from common import content_jpeg, interleaved, server, style_jpeg, summary, table, write
from stylewire import Client
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.weights.lite import lite

ROUNDS = 200
STAGES = ("queue_ms", "decode_ms", "predict_ms", "transform_ms", "encode_ms")


def main() -> None:
    """Prints a table and writes results/stages.json."""
    content, style = content_jpeg(), style_jpeg()
    engine = OpenVinoEngine(lite())
    picture = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    vector = engine.predict(picture)
    timings = []
    command = [
        "-m",
        "stylewire_server",
        "serve",
        "--port",
        "0",
        "--model",
        "lite",
        "--streams",
        "1",
        "--log-level",
        "warning",
    ]
    with server(command) as target, Client(target) as client:

        def call() -> None:
            timings.append(client.stylize_detailed(content, style).timings)

        seconds = interleaved({"call": call, "bare transform": lambda: engine.transform(picture, vector)}, ROUNDS)
    stages = {stage: statistics.median(getattr(timing, stage) for timing in timings[10:]) for stage in STAGES}
    whole = summary(seconds["call"])
    bare = summary(seconds["bare transform"])
    stages["grpc and client"] = whole["median_ms"] - sum(stages.values())
    rows = [{"stage": name, "median_ms": value} for name, value in stages.items()]
    rows += [{"stage": "whole call", **whole}, {"stage": "bare transform", **bare}]
    table(rows)
    ratio = whole["median_ms"] / bare["median_ms"]
    print(f"\nwhole call / bare transform: {ratio:.2f}")
    job = f"JPEG 512x512 in, JPEG 256x256 out, style cached, one caller, {engine.precision}"
    write("stages", {"job": job, "stages_ms": stages, "call": whole, "bare_transform": bare, "ratio": ratio})


if __name__ == "__main__":
    main()
