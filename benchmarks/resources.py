"""The resources of a server: time to start, memory at rest, and memory by the number of pixels.

    python -m benchmarks resources [FLAG ...]
    python -m benchmarks resources --per-pixel [--model MODEL] [--precision P]

From process start to ready and to the first picture, and resident memory. FLAGs go to `serve`: `--model lite`,
`--model FOLDER`. With `--model random` the full edition's graph is made with random weights first, which starts as the
published one does.

With --per-pixel: the peak of a process that transforms one picture of that size, as `--max-pixels` rests on it. Each
size has a process of its own, because memory that was once taken is not given back.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from stylewire import Client

from .common import child, content_jpeg, parser, server_flags, serving, style_jpeg, table, write

RUNS = 7
SIDES = (256, 512, 1024, 1536, 2048)


def start(name: str, flags: list[str]) -> None:
    """Print a table of a server with those flags, and write it."""
    content, style = content_jpeg(), style_jpeg()
    ready, first, loaded, worked = [], [], [], []
    for _ in range(RUNS):
        begun = time.perf_counter()
        with serving(*flags) as server, Client(server.target) as client:
            process = psutil.Process(server.process.pid)
            ready.append(time.perf_counter() - begun)
            client.stylize(content, style)
            first.append(time.perf_counter() - begun)
            loaded.append(process.memory_info().rss / 1e6)
            for _ in range(50):
                client.stylize(content, style)
            worked.append(process.memory_info().rss / 1e6)
    results = {
        "ready_s": statistics.median(ready),
        "first_picture_s": statistics.median(first),
        "resident_after_first_mb": statistics.median(loaded),
        "resident_after_50_mb": statistics.median(worked),
    }
    table([{"figure": key, "median": value, "of": RUNS} for key, value in results.items()])
    write(name, results)


def peak(model: str, precision: str, side: int) -> dict[str, Any]:
    """Return the memory of this very process before and after one picture, in MB."""
    from stylewire_server.engine.factory import start as start_engine
    from stylewire_server.models.select import open_network
    from stylewire_server.settings import CacheSettings

    engine = start_engine(open_network(model, CacheSettings().cache), "openvino", precision, 0, 1)
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    vector = engine.predict(picture[:, :256, :256])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    engine.transform(picture, vector)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"side": side, "precision": engine.precision, "loaded_mb": before, "peak_mb": after}


def per_pixel(model: str, precision: str) -> None:
    """Print a table and write results/memory_MODEL_PRECISION.json."""
    rows = [child("resources", {"model": model, "precision": precision, "side": side}) for side in SIDES]
    pixels = np.array([row["side"] ** 2 for row in rows])
    slope, base = np.polyfit(pixels, [row["peak_mb"] * 1e6 for row in rows], 1)
    for row in rows:
        row["bytes_per_pixel"] = (row["peak_mb"] * 1e6 - base) / row["side"] ** 2
    table(rows)
    print(f"\n{base / 1e6:.0f} MB and {slope:.0f} bytes for each pixel")
    kind = rows[0]["precision"]
    results = {"model": model, "precision": kind, "base_mb": base / 1e6, "bytes_per_pixel": slope, "rows": rows}
    write(f"memory_{model}_{kind}" if "/" not in model else "memory", results)


def main() -> None:
    """Print a table and write it below results."""
    arguments = parser(__doc__)
    arguments.add_argument("--per-pixel", action="store_true", help="memory against pixels, and nothing else")
    arguments.add_argument("--model", default="lite", help="lite, full, or a folder (default: %(default)s)")
    arguments.add_argument("--precision", default="auto", help="of --per-pixel (default: %(default)s)")
    given, flags = arguments.parse_known_args()
    if given.per_pixel:
        per_pixel(given.model, given.precision)
        return
    with tempfile.TemporaryDirectory() as scratch:
        used = server_flags(["--model", given.model, *flags], Path(scratch))
        start("startup_random" if given.model == "random" else "startup", used)


if __name__ == "__main__":
    print(json.dumps(peak(**json.loads(sys.argv[1]))))
