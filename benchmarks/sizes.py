"""Pictures of 256 to 1024 px a second: through the server against the bare engine in a loop, both editions.

    python -m benchmarks sizes [SAVED_MODEL]

The style is cached, four callers, JPEG in and out. The bare engine is arranged like the server's and called by a thread
for each stream with the picture at hand, so a ratio of 1 would be a server, a codec and a load generator for nothing.
SAVED_MODEL is as in full_model.py.
"""

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.full import full
from stylewire_server.models.lite import lite
from stylewire_server.models.network import Network
from stylewire_server.settings import ServeSettings

from .common import full_edition, load, server, table, write

SIDES = {"lite": (256, 512, 1024), "full": (256, 512, 1024)}
CALLERS = 4
ROUNDS = 2
PICTURES = 4
"""At least so many in a round of the bare engine, for each stream."""


def bare(engine: OpenVinoEngine, streams: int, side: int, seconds: float) -> float:
    """Pictures a second of the engine alone."""
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


def measure(edition: str, network: Network, model: str) -> list[dict[str, Any]]:
    """A row for each size."""
    streams = ServeSettings().effective_streams
    engine = OpenVinoEngine(network, streams=streams, adaptive=True)
    command = ["-m", "stylewire_server", "serve", "--port", "0", "--model", model, "--log-level", "warning"]
    rows = []
    with server(command) as target:
        for side in SIDES[edition]:
            alone = bare(engine, streams, side, 1.0)
            seconds = max(2.0, PICTURES * streams / alone)
            served, alone_rates = [], []
            for _ in range(ROUNDS):
                served.append(load(target, "closed", CALLERS, seconds, side)["rate"])
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


def main() -> None:
    """Prints a table and writes results/sizes.json."""
    rows = measure("lite", lite(), "lite")
    with tempfile.TemporaryDirectory() as scratch:
        found = full_edition(sys.argv[1:], Path(scratch))
        if found is not None:
            rows += measure("full", full(found.converted), str(found.converted))
    table(rows)
    weights = "absent" if found is None else f"{found.weights} weights"
    job = f"JPEG in, JPEG of the same size out, style cached, {CALLERS} callers, loopback; full: {weights}"
    write("sizes", {"job": job, "rows": rows})


if __name__ == "__main__":
    main()
