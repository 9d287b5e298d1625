"""How much sooner does the optimiser arrive when it starts from the feed-forward picture?

For every pair: L-BFGS from the content for N evaluations gives the cost to reach; then the same descent from the
feed-forward picture, at one scale and coarse to fine, until it gets there. Evaluations and seconds of each.

    python benchmarks/baseline_starts.py --pairs CONTENT STYLE [CONTENT STYLE …] --server HOST:PORT --out results.json
"""

import argparse
import json
import statistics
from pathlib import Path

from optimizer_baseline import StopRun, stylize
from optimizer_baseline.presets import PRESETS, preset

SIZE = 256


class Until:
    """Stops a run at the finest scale once its cost is at most `target`."""

    def __init__(self, target):
        self.target = target
        self.reached = None

    def __call__(self, progress):
        if progress.scale == progress.scales and progress.costs.total_cost <= self.target:
            self.reached = {"evaluations": progress.evaluations, "seconds": round(progress.seconds, 2)}
            raise StopRun("reached")


def measure(content, style, start, options, evaluations, coarse):
    first = stylize(content, style, iterations=evaluations, evaluations=evaluations, init="content", **options)
    target = first.costs.total_cost
    row = {"content": {"evaluations": first.evaluations, "seconds": round(first.seconds, 2), "cost": target}}
    for name, extra in (("feedforward", {}), ("feedforward, coarse to fine", coarse)):
        until = Until(target)
        stylize(content, style, iterations=evaluations, callback=until, **start, **options, **extra)
        row[name] = until.reached
    until = Until(target)
    stylize(content, style, iterations=evaluations, callback=until, init="content", **options, **coarse)
    row["content, coarse to fine"] = until.reached
    return row


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
    for name in ("feedforward", "feedforward, coarse to fine", "content, coarse to fine"):
        for unit in ("evaluations", "seconds"):
            ratios = [r[name][unit] / r["content"][unit] if r[name] else float("inf") for r in rows]
            print(f"{name}: {unit} {statistics.median(ratios):.2f} of those from content (worst {max(ratios):.2f})")
    if given.out:
        given.out.write_text(json.dumps({"settings": vars(given) | {"out": str(given.out)}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
