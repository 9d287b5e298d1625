"""Streams and processes on these cores: pictures a second and latency of each arrangement, in turn, lite edition.

Why the defaults are what they are: `ServeSettings.effective_streams` and `effective_processes`.
"""

import statistics
from contextlib import ExitStack
from typing import Any

from stylewire_server.settings import ServeSettings

from .common import load, server, summary, table, write

CALLERS = (1, 4, 16)
ROUNDS = 3
SECONDS = 2.0


def arrangements() -> dict[str, list[str]]:
    """Flags by name: as many streams as the default and half as many, down to one, and two processes."""
    streams, found = max(2, ServeSettings().effective_streams), {"default": []}
    while streams:
        found[f"{streams} streams" if streams > 1 else "1 stream"] = ["--streams", str(streams)]
        streams //= 2
    return {**found, "2 processes": ["--processes", "2"]}


def main() -> None:
    """Prints a table and writes results/arrangement.json."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        common = ["-m", "stylewire_server", "serve", "--port", "0", "--model", "lite", "--log-level", "warning"]
        targets = {name: stack.enter_context(server([*common, *flags])) for name, flags in arrangements().items()}
        for callers in CALLERS:
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in targets}
            for _ in range(ROUNDS):
                for name, target in targets.items():
                    found[name].append(load(target, "closed", callers, SECONDS))
            for name, rounds in found.items():
                rate = statistics.median(one["rate"] for one in rounds)
                latencies = [seconds for one in rounds for seconds in one["latencies"]]
                rows.append({"arrangement": name, "callers": callers, "per_second": rate, **summary(latencies)})
    table(rows)
    write("arrangement", {"job": "JPEG 512x512 in, 256x256 out, style cached", "rows": rows})


if __name__ == "__main__":
    main()
