"""The number of servers that a load needs: a simulation of servers with bounded queues, checked against a real one.

    python -m benchmarks capacity [--check]

Each server has its cores and a queue of 64. Calls come at random moments (a Poisson process with a fixed seed). The
balancer sends each to a server with the fewest calls (least calls), as nginx and Envoy do. Or many clients go round the
servers, each by itself, which comes to a choice at random (clients). Service times are lognormal about the measured
ones. A call that finds the queue full is refused.

With --check, one and two real servers are put under calls at even intervals, and the simulated figures are printed
beside the measured ones. That needs a machine with nothing else on it.
"""

import heapq
import math
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from .common import load, parser, serving, table, write

QUEUE = 64
"""The default of `--queue-size`."""

CALLS = 20_000
"""Simulated calls; the first tenth is not counted."""


@dataclass(frozen=True)
class Job:
    """A kind of picture.

    Args:
        name: Of the edition and size.
        seconds: CPU time of one picture, from docs/measurements.md: 2 cores / pictures a second.
        spread: Standard deviation of the logarithm of the service time.
    """

    name: str
    seconds: float
    spread: float = 0.25


JOBS = (Job("lite, 256 px", 2 / 160), Job("lite, 512 px", 2 / 49), Job("full, 256 px", 2 / 14))


@dataclass(frozen=True)
class Outcome:
    """The result of a load.

    Args:
        p50, p99: Seconds of the calls that were answered.
        refused: Share of the calls.
        busy: Share of the cores' time.
    """

    p50: float
    p99: float
    refused: float
    busy: float


def simulate(
    servers: int,
    cores: int,
    rate: float,
    job: Job,
    least_calls: bool,
    even: bool = False,
    calls: int = CALLS,
    seed: int = 0,
) -> Outcome:
    """Simulate calls at `rate` a second on so many servers of so many cores each; one call takes one core."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(np.full(calls, 1 / rate) if even else rng.exponential(1 / rate, calls))
    needs = rng.lognormal(math.log(job.seconds) - job.spread**2 / 2, job.spread, calls)
    choices = rng.integers(servers, size=calls)
    free = [[0.0] * cores for _ in range(servers)]
    ends: list[list[float]] = [[] for _ in range(servers)]
    seconds, refused, worked = [], 0, 0.0
    for number, (now, need) in enumerate(zip(arrivals, needs, strict=True)):
        if least_calls:
            for each in ends:
                while each and each[0] <= now:
                    heapq.heappop(each)
            chosen = min(range(servers), key=lambda index: (len(ends[index]), (index - number) % servers))
        else:
            chosen = int(choices[number])
            while ends[chosen] and ends[chosen][0] <= now:
                heapq.heappop(ends[chosen])
        counts = number >= calls // 10
        if len(ends[chosen]) >= cores + QUEUE:
            refused += counts
            continue
        # First come, first served: the core that is free first.
        end = max(now, heapq.heappop(free[chosen])) + need
        heapq.heappush(free[chosen], end)
        heapq.heappush(ends[chosen], end)
        worked += need
        if counts:
            seconds.append(end - now)
    counted = calls - calls // 10
    p50, p99 = np.percentile(seconds, [50, 99]) if seconds else (math.nan, math.nan)
    return Outcome(float(p50), float(p99), refused / counted, worked / (arrivals[-1] * servers * cores))


def needed(rate: float, cores: int, job: Job, load: float = 0.7) -> int:
    """Return how many servers keep their cores at most at that load."""
    return max(1, math.ceil(rate * job.seconds / (cores * load)))


def main() -> None:
    """Print the table of docs/guides/scaling.md and write results/capacity.json."""
    flags = parser(__doc__)
    flags.add_argument("--check", action="store_true", help="measure one and two real servers too")
    flags.add_argument("--cores", type=int, default=8, help="cores of one server (default: %(default)s)")
    arguments = flags.parse_args()
    rows = []
    for job in JOBS:
        for rate in (10, 1_000, 100_000):
            # Beyond some servers more of them change nothing but the time to simulate.
            servers = needed(rate, arguments.cores, job)
            simulated = min(servers, 40)
            part = rate * simulated / servers
            for least_calls in (False, True):
                found = simulate(simulated, arguments.cores, part, job, least_calls)
                rows.append(
                    {
                        "job": job.name,
                        "pictures/s": rate,
                        "balancer": "least calls" if least_calls else "clients",
                        "servers": servers,
                        "cores": servers * arguments.cores,
                        "p50_ms": found.p50 * 1e3,
                        "p99_ms": found.p99 * 1e3,
                        "refused": found.refused,
                        "busy": found.busy,
                    }
                )
    table(rows)
    checked = check() if arguments.check else []
    write("capacity", {"cores_per_server": arguments.cores, "rows": rows, "check": checked})


def check() -> list[dict[str, object]]:
    """Measure one server of one core, and two, by open-loop load, beside the simulation."""
    flags = ("--model", "lite", "--threads", "1", "--streams", "1")
    rows = []
    with ExitStack() as stack:
        targets = [stack.enter_context(serving(*flags)).target for _ in range(2)]
        for count in (1, 2):
            target = "ipv4:" + ",".join(targets[:count])
            capacity = load(target, "closed", 4 * count, 5)["rate"]
            for share in (0.5, 0.8):
                measured = load(target, "open", share * capacity, 10)["latencies"]
                job = Job("lite", count / capacity)
                found = simulate(count, 1, share * capacity, job, least_calls=False, even=True)
                p50, p99 = np.percentile(measured, [50, 99])
                rows.append(
                    {
                        "servers": count,
                        "load": share,
                        "measured p50_ms": p50 * 1e3,
                        "simulated p50_ms": found.p50 * 1e3,
                        "measured p99_ms": p99 * 1e3,
                        "simulated p99_ms": found.p99 * 1e3,
                    }
                )
    table(rows)
    return rows
