"""Three ways downhill: L-BFGS-B (scipy), Adam, and plain gradient descent. All keep every pixel in 0..1.

A driver asks a `Descent` for cost and gradient, and tells it each time that an iteration is complete. The `Descent`
remembers the best picture, counts evaluations and refuses costs that are not finite.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import Diverged, InvalidOption, StopRun
from .images import Pixels
from .objective.objective import Costs, Objective

OPTIMIZERS = ("lbfgs", "adam", "gradient-descent")
# Largest change of a pixel (0..1) in one step: Adam's as in the TensorFlow tutorial; gradient descent adapts its own.
LEARNING_RATES = {"adam": 0.02, "gradient-descent": 0.02}
# Corrections that L-BFGS keeps: scipy's default; more cost time per step and gained nothing at 256x256.
LBFGS_MEMORY = 10
# Root mean square change of a pixel (0..1) in a first L-BFGS step: visible, and short enough to be accepted.
FIRST_STEP_RMS = 0.02
# A cost this many times the first one is a run that has left the valley for good.
DIVERGENCE_FACTOR = 1e3


@dataclass(frozen=True)
class Step:
    """One finished iteration inside one scale."""

    iteration: int
    evaluations: int
    costs: Costs
    seconds: float
    pixels: Pixels
    improved: bool


class Descent:
    """Book-keeping around an objective while one driver minimises it.

    Args:
        objective: The cost.
        report: Called after each iteration.
        evaluations: That are allowed; None for any number.
        best: The best picture of an earlier part of the same run.
    """

    def __init__(
        self,
        objective: Objective,
        report: Callable[[Step], None],
        evaluations: int | None = None,
        best: Pixels | None = None,
    ) -> None:
        self.objective = objective
        self.best = best
        self.best_costs: Costs | None = None if best is None else objective.costs(best)
        self.evaluations = 0
        self.iterations = 0
        self._limit = evaluations
        self._report = report
        self._first: float | None = None
        self._began = time.perf_counter()
        self._improved = False

    def evaluate(self, pixels: Pixels) -> tuple[Costs, NDArray[np.float32]]:
        """Costs and gradient of `pixels` [1, H, W, 3].

        Raises:
            Diverged: cost or gradient is not finite.
            StopRun: the allowed evaluations are used up.
        """
        if self._limit is not None and self.evaluations >= self._limit:
            raise StopRun("the allowed evaluations are used up")
        costs, gradient = self.objective.value_and_gradient(pixels)
        self.evaluations += 1
        total = costs.total_cost
        if not (math.isfinite(total) and np.isfinite(gradient).all()):
            raise Diverged(
                f"cost became {total} at evaluation {self.evaluations}; lower the weights or the learning rate"
            )
        self._first = total if self._first is None else self._first
        if self.best_costs is None or total < self.best_costs.total_cost:
            self.best, self.best_costs, self._improved = pixels.copy(), costs, True
        return costs, gradient

    def advance(self, pixels: Pixels, costs: Costs) -> None:
        """An iteration is complete and stands at `pixels`.

        Raises:
            Diverged: the cost there is 1000 times the first one. What a line search only tries may be anything.
        """
        total = costs.total_cost
        if self._first is not None and total > DIVERGENCE_FACTOR * self._first > 0:
            raise Diverged(
                f"cost rose from {self._first:.4g} to {total:.4g}, more than {DIVERGENCE_FACTOR:.0f} times, at "
                f"evaluation {self.evaluations}; lower the learning rate"
            )
        self.iterations += 1
        improved, self._improved = self._improved, False
        seconds = time.perf_counter() - self._began
        self._report(Step(self.iterations, self.evaluations, costs, seconds, pixels, improved))


def minimize(
    descent: Descent, start: Pixels, optimizer: str, iterations: int, learning_rate: float | None = None
) -> bool:
    """Runs `optimizer` from `start` [1, H, W, 3] for at most `iterations`; the outcome is `descent.best`.

    Returns whether it has arrived before that: no step that it can take lowers the cost.

    Args:
        learning_rate: largest change of a pixel per step for Adam and (at first) gradient descent; L-BFGS has none.

    Raises:
        InvalidOption: an unknown optimiser, or a learning rate for L-BFGS.
        Diverged, StopRun: as `Descent.evaluate`, and whatever the progress callback raises.
    """
    if optimizer not in OPTIMIZERS:
        raise InvalidOption(f"unknown optimizer {optimizer!r}; known: {', '.join(OPTIMIZERS)}")
    if optimizer == "lbfgs":
        if learning_rate is not None:
            raise InvalidOption("lbfgs finds its own step; a learning rate is for adam and gradient-descent")
        return _lbfgs(descent, start, iterations)
    rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    return (_adam if optimizer == "adam" else _gradient_descent)(descent, start, iterations, rate)


def _lbfgs(descent: Descent, start: Pixels, iterations: int) -> bool:
    """Byrd, Lu, Nocedal, Zhu 1995, as scipy has it.

    Until it has seen positive curvature it steps by the gradient itself, never further, and a start from the content
    can sit in negative curvature for dozens of steps. So the cost is scaled until that is a step worth taking.
    """
    from scipy import optimize as scipy_optimize

    shape = start.shape
    standing = start
    latest: list[Costs] = []
    scale = 0.0

    def evaluate(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal scale
        costs, gradient = descent.evaluate(flat.reshape(shape).astype(np.float32))
        latest[:] = [costs]
        if not scale:
            # In 64 bits: the squares of a gradient of 1e20 are beyond 32.
            length = float(np.linalg.norm(gradient.astype(np.float64)))
            scale = FIRST_STEP_RMS * gradient.size**0.5 / max(length, 1e-30)
        return costs.total_cost * scale, gradient.ravel().astype(np.float64) * scale

    def finished(flat: NDArray[np.float64]) -> None:
        nonlocal standing
        pixels = flat.reshape(shape).astype(np.float32)
        if np.array_equal(pixels, standing):
            # A line search of twenty evaluations that moved no pixel, and so will the next ones.
            raise StopIteration
        standing = pixels
        # The line search ends on the point it accepts, so the latest costs are those of `flat`.
        descent.advance(pixels, latest[0])

    begun = descent.iterations
    flat = start.ravel().astype(np.float64)
    while (left := begun + iterations - descent.iterations) > 0:
        before = descent.iterations
        # Runs end by count: what looks flat to a tolerance still changes visibly.
        options = {"maxiter": left, "maxfun": 20 * left, "maxcor": LBFGS_MEMORY, "ftol": 0.0, "gtol": 0.0}
        bounds = scipy_optimize.Bounds(0.0, 1.0)
        found = scipy_optimize.minimize(
            evaluate, flat, jac=True, method="L-BFGS-B", bounds=bounds, callback=finished, options=options
        )
        flat = found.x
        # Rounding in the costs can make a line search fail long before the valley's floor. A fresh start from there
        # forgets the misleading curvature; one that cannot take even its first step has arrived.
        if descent.iterations == before:
            return True
    return False


def _adam(descent: Descent, start: Pixels, iterations: int, rate: float) -> bool:
    """Kingma & Ba 2015, algorithm 1, with their beta1 = 0.9 and beta2 = 0.999; pixels are clipped after each step."""
    beta1, beta2 = 0.9, 0.999
    pixels = start.copy()
    mean = np.zeros_like(pixels)
    square = np.zeros_like(pixels)
    _, gradient = descent.evaluate(pixels)
    # The steps don't depend on the gradient's unit, and the squares of a gradient of 1e20 are beyond 32 bits.
    unit = np.float32(max(float(np.abs(gradient).max()), 1e-30))
    for t in range(1, iterations + 1):
        gradient = gradient / unit
        mean += (1 - beta1) * (gradient - mean)
        square += (1 - beta2) * (gradient * gradient - square)
        # Their epsilon, relative to the gradient: costs of presets differ by ten orders of magnitude.
        root = np.sqrt(square / (1 - beta2**t))
        step = mean / (1 - beta1**t) / (root + 1e-8 * root.max() + 1e-30)
        pixels = np.clip(pixels - np.float32(rate) * step, 0.0, 1.0).astype(np.float32)
        costs, gradient = descent.evaluate(pixels)
        descent.advance(pixels, costs)
    return False


def _gradient_descent(descent: Descent, start: Pixels, iterations: int, rate: float) -> bool:
    """Projected steepest descent. A step that raises the cost is taken back and halved, one that lowers it grows by a
    fifth ("bold driver"): a fixed step either crawls or diverges, because curvature differs by orders of magnitude
    between presets and along one run."""
    pixels = start
    costs, gradient = descent.evaluate(pixels)
    length = rate / max(float(np.abs(gradient).max()), 1e-30)
    for _ in range(iterations):
        while True:
            trial = np.clip(pixels - length * gradient.astype(np.float64), 0.0, 1.0).astype(np.float32)
            if np.array_equal(trial, pixels):
                return True  # No step of a representable size lowers the cost.
            trial_costs, trial_gradient = descent.evaluate(trial)
            if trial_costs.total_cost < costs.total_cost:
                break
            length *= 0.5
        pixels, costs, gradient = trial, trial_costs, trial_gradient
        length *= 1.2
        descent.advance(pixels, costs)
    return False
