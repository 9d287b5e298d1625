"""Where the baseline's optimizers end after equally many evaluations, with the CPU seconds that they took.

    python -m benchmarks baseline-optimizers --pairs CONTENT STYLE [CONTENT STYLE …] --size 96 --evaluations 100

All start from the content at one scale. Costs are relative to those of SciPy's L-BFGS-B with bounds of 0 and 1, the
baseline's optimizer in 0.1. Each evaluation takes the same time; the seconds hold the optimizer's own arithmetic too.
"""

import argparse
import contextlib
import json
import statistics
import time
from pathlib import Path

import numpy as np
from scipy import optimize as scipy_optimize

from optimizer_baseline import StopRun, images
from optimizer_baseline.objective.objective import Objective, Style
from optimizer_baseline.objective.presets import PRESETS, preset
from optimizer_baseline.optimize import FIRST_STEP_RMS, LBFGS_MEMORY, Descent, minimize
from optimizer_baseline.vgg import weights


def lbfgs_b(descent, start, iterations):
    """SciPy's L-BFGS-B, with the cost scaled so that the first step is visible."""
    scale = 0.0

    def evaluate(flat):
        nonlocal scale
        costs, gradient = descent.evaluate(flat.reshape(start.shape).astype(np.float32))
        scale = scale or FIRST_STEP_RMS * gradient.size**0.5 / float(np.linalg.norm(gradient))
        return costs.total_cost * descent.scale * scale, gradient.ravel().astype(np.float64) * scale

    options = {"maxiter": iterations, "maxfun": 20 * iterations, "maxcor": LBFGS_MEMORY, "ftol": 0.0, "gtol": 0.0}
    bounds = scipy_optimize.Bounds(0.0, 1.0)
    scipy_optimize.minimize(evaluate, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)


OPTIMIZERS = {
    "L-BFGS-B": lbfgs_b,
    "lbfgs": lambda descent, start, n: minimize(descent, start, "lbfgs", n),
    "adam": lambda descent, start, n: minimize(descent, start, "adam", n),
}


def measure(objective, start, optimizer, evaluations):
    """Run one optimizer; return cost, CPU seconds and the share of values at 0 or 1."""
    descent = Descent(objective, lambda step: None, evaluations)
    began = time.process_time()
    with contextlib.suppress(StopRun):
        OPTIMIZERS[optimizer](descent, start, evaluations)
    at_bound = float(((descent.best <= 0.0) | (descent.best >= 1.0)).mean())
    return {
        "cost": descent.best_costs.total_cost,
        "cpu_seconds": round(time.process_time() - began, 1),
        "at_bound": round(at_bound, 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", required=True, help="content and style pictures in turn")
    parser.add_argument("--presets", nargs="+", choices=tuple(PRESETS), default=["magenta", "gatys2016"])
    parser.add_argument("--network", default="vgg16")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    loaded = weights.load(given.network, given.weights)
    rows = []
    for content, style in zip(given.pairs[::2], given.pairs[1::2], strict=True):
        pictures = [images.to_pixels(images.fit(images.load(p), given.size)) for p in (content, style)]
        for name in given.presets:
            cost = preset(name).replace(network=given.network)
            objective = Objective(pictures[0], [Style(pictures[1])], cost, loaded)
            objective.value_and_gradient(pictures[0])  # compiles
            found = {o: measure(objective, pictures[0], o, given.evaluations) for o in OPTIMIZERS}
            first = found["L-BFGS-B"]["cost"]
            for row in found.values():
                row["ratio"] = round(row["cost"] / first, 3)
            rows.append({"pair": f"{Path(content).stem} x {Path(style).stem}", "preset": name, **found})
            print(json.dumps(rows[-1]), flush=True)
    for name in OPTIMIZERS:
        ratios = [row[name]["ratio"] for row in rows]
        print(f"{name}: cost {statistics.geometric_mean(ratios):.3f} of L-BFGS-B's (worst {max(ratios):.3f})")
    if given.out:
        given.out.write_text(json.dumps({"settings": vars(given) | {"out": str(given.out)}, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
