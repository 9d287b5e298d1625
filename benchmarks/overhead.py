"""The overhead of the server over the bare engine: by stage for one caller, and by size for four.

    python -m benchmarks overhead [--only stages|sizes] [--saved-model FOLDER]

stages: where the time of one warm call goes, lite edition. One caller, no load: medians of each stage as the server
reports it, of the whole call as the client sees it, and of the bare engine in this process, arranged alike.

sizes: pictures of 256 to 1024 px a second, through the server and by the bare engine in a loop, both editions. The
style is cached, four callers, JPEG in and out. The bare engine is called by a thread for each stream with the picture
at hand. So a ratio of 1 would be a server, a codec and a load generator for nothing.
"""

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from stylewire import Client
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.full import full
from stylewire_server.models.lite import lite
from stylewire_server.models.network import Network
from stylewire_server.settings import ServeSettings

from .common import (
    add_saved_model,
    content_jpeg,
    full_edition,
    interleaved,
    load,
    parser,
    serving,
    style_jpeg,
    summary,
    table,
    write,
)
from .engine import onnx_transform

STAGE_ROUNDS = 200
STAGES = ("queue_ms", "decode_ms", "predict_ms", "transform_ms", "encode_ms")

SIDES = (256, 512, 1024)
CALLERS = 4
SIZE_ROUNDS = 2
PICTURES = 4
"""Pictures of each stream in a round of the bare engine, at least."""


def measure_stages(name: str, flags: list[str], engine: OpenVinoEngine) -> dict[str, Any]:
    """Measure one caller of a server with those flags, in turn with the bare engine arranged alike, and as shipped."""
    content, style = content_jpeg(), style_jpeg()
    picture = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    vector = engine.predict(picture)
    as_shipped = partial(onnx_transform(256).infer, [picture.astype(np.float32) / 255, vector.reshape(1, 1, 1, -1)])
    timings = []
    with serving("--model", "lite", *flags) as server, Client(server.target) as client:

        def call() -> None:
            timings.append(client.stylize_detailed(content, style).timings)

        transform = partial(engine.transform, picture, vector)
        contenders = {"call": call, "bare transform": transform, "int8 transform, all cores": as_shipped}
        found = {name: summary(seconds) for name, seconds in interleaved(contenders, STAGE_ROUNDS, block=25).items()}
    stages = {stage: statistics.median(getattr(timing, stage) for timing in timings[10:]) for stage in STAGES}
    stages["grpc and client"] = found["call"]["median_ms"] - sum(stages.values())
    print(f"\n{name}, {engine.precision}")
    table([{"stage": name, "median_ms": value} for name, value in stages.items()])
    table([{"whole": name, **values} for name, values in found.items()])
    ratio = found["call"]["median_ms"] / found["bare transform"]["median_ms"]
    print(f"whole call / bare transform: {ratio:.2f}")
    return {"arrangement": name, "precision": engine.precision, "stages_ms": stages, **found, "ratio": ratio}


def stages() -> None:
    """Print tables for the default of this machine and for a core a picture, and write results/stages.json."""
    streams = ServeSettings().effective_streams
    arrangements = [
        measure_stages("default", [], OpenVinoEngine(lite(), streams=streams, adaptive=True)),
        measure_stages(f"--streams {streams}", ["--streams", str(streams)], OpenVinoEngine(lite(), streams=streams)),
    ]
    job = "JPEG 512x512 in, JPEG 256x256 out, style cached, one caller"
    write("stages", {"job": job, "arrangements": arrangements})


def bare(engine: OpenVinoEngine, streams: int, side: int, seconds: float) -> float:
    """Return pictures a second of the engine alone."""
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    vector = engine.predict(picture[:, :256, :256])

    def stream(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            engine.transform(picture, vector)
            done += 1
        return done

    start = time.perf_counter()
    end = start + seconds
    with ThreadPoolExecutor(streams) as threads:
        done = sum(threads.map(stream, range(streams)))
    return done / (time.perf_counter() - start)


def measure_sizes(edition: str, network: Network, model: str) -> list[dict[str, Any]]:
    """Return a row for each size."""
    streams = ServeSettings().effective_streams
    engine = OpenVinoEngine(network, streams=streams, adaptive=True)
    rows = []
    with serving("--model", model) as server:
        for side in SIDES:
            alone = bare(engine, streams, side, 1.0)
            seconds = max(2.0, PICTURES * streams / alone)
            served, alone_rates = [], []
            for _ in range(SIZE_ROUNDS):
                served.append(load(server.target, "closed", CALLERS, seconds, side=side)["rate"])
                alone_rates.append(bare(engine, streams, side, seconds))
            rows.append(
                {
                    "edition": edition,
                    "precision": engine.precision,
                    "side": side,
                    "per_second": statistics.median(served),
                    "bare_per_second": statistics.median(alone_rates),
                    "vs_bare": statistics.median(s / b for s, b in zip(served, alone_rates, strict=True)),
                }
            )
    return rows


def sizes(saved_model: Path | None) -> None:
    """Print a table and write results/sizes.json."""
    rows = measure_sizes("lite", lite(), "lite")
    with tempfile.TemporaryDirectory() as scratch:
        found = full_edition(saved_model, Path(scratch))
        if found is not None:
            rows += measure_sizes("full", full(found.converted), str(found.converted))
    table(rows)
    weights = "absent" if found is None else f"{found.weights} weights"
    job = f"JPEG in, JPEG of the same size out, style cached, {CALLERS} callers, loopback; full: {weights}"
    write("sizes", {"job": job, "rows": rows})


def main() -> None:
    """Run one part, or both."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=("stages", "sizes"), help="one part of the two")
    add_saved_model(arguments)
    given = arguments.parse_args()
    if given.only in (None, "stages"):
        stages()
    if given.only in (None, "sizes"):
        sizes(given.saved_model)
