"""From process start to ready and to the first picture, and the memory that a server holds.

    python -m benchmarks startup [FLAG …]

FLAGs go to `serve`: `--model lite`, `--model FOLDER`. With `--model random` the full edition's graph is made with
random weights first, which starts as the published one does.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from stylewire import Client

from .common import content_jpeg, served, server, server_proc, style_jpeg, table, write

RUNS = 7
FLAGS = ["-m", "stylewire_server", "serve", "--port", "0", "--log-level", "warning"]


def resident_megabytes() -> float:
    """Resident memory of the server, in MB; the kernel counts in units of 1024 bytes."""
    status = (server_proc() / "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def main() -> None:
    """Prints a table and writes results/startup.json, or results/startup_random.json."""
    flags = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        used = served(flags, Path(scratch))
        measure("startup" if used == flags else "startup_random", used)


def measure(name: str, flags: list[str]) -> None:
    """The same, of a server with those flags."""
    content, style = content_jpeg(), style_jpeg()
    ready, first, loaded, worked = [], [], [], []
    for _ in range(RUNS):
        start = time.perf_counter()
        with server([*FLAGS, *flags]) as target, Client(target) as client:
            ready.append(time.perf_counter() - start)
            client.stylize(content, style)
            first.append(time.perf_counter() - start)
            loaded.append(resident_megabytes())
            for _ in range(50):
                client.stylize(content, style)
            worked.append(resident_megabytes())
    results = {
        "ready_s": statistics.median(ready),
        "first_picture_s": statistics.median(first),
        "resident_after_first_mb": statistics.median(loaded),
        "resident_after_50_mb": statistics.median(worked),
    }
    table([{"figure": name, "median": value, "of": RUNS} for name, value in results.items()])
    write(name, results)


if __name__ == "__main__":
    main()
