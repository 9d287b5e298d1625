"""Memory against pixels: the peak of a process that transforms one picture of that size, as `--max-pixels` rests on it.

    python -m benchmarks memory [MODEL] [PRECISION]

Each size has a process of its own, because memory that was once taken is not given back.
"""

import json
import resource
import subprocess
import sys
from typing import Any

import numpy as np

from .common import ROOT, table, write

SIDES = (256, 512, 1024, 1536, 2048)


def peak(model: str, precision: str, side: int) -> dict[str, Any]:
    """Of this very process: before and after one picture, MB."""
    from stylewire_server.engine.factory import start
    from stylewire_server.models.select import open_network
    from stylewire_server.settings import CacheSettings

    engine = start(open_network(model, CacheSettings().cache), "openvino", precision, 0, 1)
    picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    vector = engine.predict(picture[:, :256, :256])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    engine.transform(picture, vector)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"side": side, "precision": engine.precision, "loaded_mb": before, "peak_mb": after}


def main() -> None:
    """Prints a table and writes results/memory_MODEL_PRECISION.json."""
    model, precision = [*sys.argv[1:], *("full", "auto")[len(sys.argv) - 1 :]][:2]
    rows = []
    for side in SIDES:
        command = [sys.executable, "-m", "benchmarks.memory", model, precision, str(side)]
        rows.append(json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout))
    pixels = np.array([row["side"] ** 2 for row in rows])
    slope, base = np.polyfit(pixels, [row["peak_mb"] * 1e6 for row in rows], 1)
    for row in rows:
        row["bytes_per_pixel"] = (row["peak_mb"] * 1e6 - base) / row["side"] ** 2
    table(rows)
    print(f"\n{base / 1e6:.0f} MB and {slope:.0f} bytes for each pixel")
    kind = rows[0]["precision"]
    results = {"model": model, "precision": kind, "base_mb": base / 1e6, "bytes_per_pixel": slope, "rows": rows}
    write(f"memory_{model}_{kind}" if "/" not in model else "memory", results)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(peak(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
    else:
        main()
