"""How much sooner does the optimizer arrive when it starts from the feed-forward picture?

For every pair: L-BFGS from the content for N evaluations gives the cost to reach; then the same descent from the
feed-forward picture, at one scale and coarse to fine, until it gets there. Evaluations and seconds of each, until that
cost and until it is 5 % away.

    python -m benchmarks baseline-starts --pairs CONTENT STYLE [CONTENT STYLE …] --server HOST:PORT --out results.json
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from optimizer_baseline import StopRun, stylize
from optimizer_baseline.objective.presets import PRESETS, preset

SIZE = 256
NEAR = 1.05  # times the cost to reach


class Watch:
    """Notes costs at the finest scale, and stops a run there once its cost is at most `target`."""

    def __init__(self, target):
        self.target = target
        self.seen = []

    def __call__(self, progress):
        if progress.scale < progress.scales:
            return
        self.seen.append((progress.costs.total_cost, progress.evaluations, round(progress.seconds, 2)))
        if progress.costs.total_cost <= self.target:
            raise StopRun("reached")

    def first(self, cost):
        """Evaluations and seconds until `cost`; None for a run that never came so low."""
        for seen, evaluations, seconds in self.seen:
            if seen <= cost:
                return {"evaluations": evaluations, "seconds": seconds}
        return None


def measure(content, style, start, options, evaluations, coarse):
    def watched(target, **extra):
        watch = Watch(target)
        stylize(content, style, iterations=evaluations, callback=watch, **options, **extra)
        return watch

    whole = watched(0.0, evaluations=evaluations, init="content")
    target = min(cost for cost, _, _ in whole.seen)
    runs = {"content": whole} | {
        name: watched(target, **extra)
        for name, extra in {
            "feedforward": start,
            "feedforward, coarse to fine": start | coarse,
            "content, coarse to fine": {"init": "content"} | coarse,
        }.items()
    }
    return {
        name: {
            "reached": {"evaluations": evaluations, "seconds": whole.seen[-1][2]}
            if run is whole
            else run.first(target),
            "near": run.first(NEAR * target),
            "lowest": min(cost for cost, _, _ in run.seen) / target,
        }
        for name, run in runs.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", required=True, help="content and style pictures in turn")
    parser.add_argument("--server", help="stylewire server that makes the feed-forward pictures")
    parser.add_argument("--pictures", nargs="+", help="or the feed-forward pictures themselves, one a pair")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="magenta")
    parser.add_argument("--network", default="vgg16")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--scales", type=int, default=3)
    parser.add_argument("--coarse-iterations", type=int, default=50)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    options = {
        "preset": preset(given.preset).replace(network=given.network),
        "weights": given.weights,
        "precision": given.precision,
        "size": SIZE,
        "scales": 1,
    }
    coarse = {"scales": given.scales, "coarse_iterations": given.coarse_iterations}
    rows = []
    pairs = list(zip(given.pairs[::2], given.pairs[1::2], strict=True))
    for k, (content, style) in enumerate(pairs):
        start = {"init": given.pictures[k]} if given.pictures else {"init": "feedforward", "server": given.server}
        row = {"pair": f"{Path(content).stem} x {Path(style).stem}"}
        row |= measure(content, style, start, options, given.evaluations, coarse)
        print(json.dumps(row), flush=True)
        rows.append(row)
    starts = [name for name in rows[0] if name not in ("pair", "content")]
    for mark in ("reached", "near"):
        for name in starts:
            for unit in ("evaluations", "seconds"):
                ratios = [r[name][mark][unit] / r["content"][mark][unit] if r[name][mark] else math.inf for r in rows]
                print(f"{mark}, {name}: {unit} {statistics.median(ratios):.2f} of those from content "
                      f"(worst {max(ratios):.2f})")  # fmt: skip
    if given.out:
        given.out.write_text(json.dumps({"settings": vars(given) | {"out": str(given.out)}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
