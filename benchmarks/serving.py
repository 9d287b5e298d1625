"""Pictures per second and latency through gRPC: ours against the plain server, closed and open loop.

Both servers run all the time and are loaded in turn, in short rounds. The load generator is a process of its own and
takes its share of the same cores, from both alike.
"""

import statistics
import sys
from typing import Any

from .common import load, server, summary, table, write

CALLERS = (1, 4, 16)
ROUNDS = 4
SECONDS = 2.0
OPEN_SECONDS = 8.0


def closed(targets: dict[str, str]) -> list[dict[str, Any]]:
    """Rates and latencies for each number of callers, the servers in turn."""
    rows = []
    for callers in CALLERS:
        rates: dict[str, list[float]] = {name: [] for name in targets}
        latencies: dict[str, list[float]] = {name: [] for name in targets}
        for _ in range(ROUNDS):
            for name, target in targets.items():
                found = load(target, "closed", callers, SECONDS)
                rates[name].append(found["rate"])
                latencies[name] += found["latencies"]
        for name in targets:
            rate = statistics.median(rates[name])
            ratio = statistics.median(ours / plain for ours, plain in zip(rates[name], rates["plain"], strict=True))
            rows.append(
                {"server": name, "callers": callers, "per_second": rate, "vs_plain": ratio, **summary(latencies[name])}
            )
    return rows


def open_loop(targets: dict[str, str], capacity: dict[str, float]) -> list[dict[str, Any]]:
    """Latency at 60 and 90 % of each server's own capacity."""
    rows = []
    for share in (0.6, 0.9):
        for name, target in targets.items():
            found = load(target, "open", share * capacity[name], OPEN_SECONDS)
            rows.append(
                {
                    "server": name,
                    "share": share,
                    "per_second": found["rate"],
                    "failed": found["failed"],
                    **summary(found["latencies"]),
                }
            )
    return rows


def main() -> None:
    """Prints two tables and writes results/serving.json."""
    flags = sys.argv[1:]
    ours = ["-m", "stylewire_server", "serve", "--port", "0", "--model", "lite", "--log-level", "warning", *flags]
    with server(ours) as own, server(["-m", "benchmarks.plain_server"]) as plain:
        targets = {"stylewire": own, "plain": plain}
        loaded = closed(targets)
        table(loaded)
        capacity = {name: max(row["per_second"] for row in loaded if row["server"] == name) for name in targets}
        opened = open_loop(targets, capacity)
        print()
        table(opened)
    job = "JPEG 512x512 in, JPEG 256x256 out, style cached, loopback"
    write("serving", {"job": job, "flags": flags, "closed": loaded, "capacity": capacity, "open": opened})


if __name__ == "__main__":
    main()
