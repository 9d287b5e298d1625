"""Minimization of a cost by L-BFGS, Adam or gradient descent. All keep every pixel in 0..1 by projection.

An optimizer gets cost and gradient from a `Descent`, and reports each complete iteration to it. The `Descent` keeps the
best picture, counts evaluations and refuses costs that are not finite.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import Diverged, InvalidOption, StopRun
from .images import Pixels
from .objective.objective import Costs, Objective
from .objective.tiles import TiledObjective

OPTIMIZERS = ("lbfgs", "adam", "gradient-descent")

LEARNING_RATES = {"adam": 0.02, "gradient-descent": 0.02}
"""Largest change of a pixel (0..1) in one step. Adam's is from the TensorFlow tutorial; gradient descent adapts it."""

ADAM_BETAS = (0.9, 0.99)
"""Decay of Adam's two averages. Kingma & Ba have 0.999 for the second one, which ends at a higher cost here."""

LBFGS_MEMORY = 10
"""Pairs of steps that L-BFGS keeps (SciPy's default). More pairs took more time and gained nothing at 256 px."""

FIRST_STEP_RMS = 0.02
"""Root mean square change of a pixel (0..1) in a first L-BFGS step: visible, and short enough to be accepted."""

SUFFICIENT_DECREASE = 1e-4
"""Share of the predicted decrease that a step has to reach (Armijo; Nocedal & Wright 2006, section 3.1)."""

LINE_SEARCH_TRIALS = 20
"""Maximum evaluations of one line search."""

DIVERGENCE_FACTOR = 1e3
"""A run ends when its cost is this many times the first one."""


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
    """The record of a run at one scale: the best picture, and the numbers of evaluations and iterations.

    Args:
        objective: The cost.
        report: Called after each iteration.
        evaluations: Largest number of evaluations; None for any number.
        best: The best picture of an earlier part of the same run.

    Attributes:
        scale: Factor that brings the largest value of the first gradient to between a half and 1. The costs of presets
            differ by many orders of magnitude, and squares of their gradients would leave float32.
    """

    def __init__(
        self,
        objective: Objective | TiledObjective,
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
        self.scale = 1.0

    def evaluate(self, pixels: Pixels) -> tuple[Costs, NDArray[np.float32]]:
        """Return the costs of `pixels` [1, H, W, 3], and `scale` times their gradient.

        Raises:
            Diverged: The cost or the gradient is not finite.
            StopRun: The allowed evaluations are used up.
        """
        if self._limit is not None and self.evaluations >= self._limit:
            raise StopRun("the allowed evaluations are used up")
        costs, gradient = self.objective.value_and_gradient(pixels)
        self.evaluations += 1
        total = costs.total_cost
        for what, finite in (("cost", math.isfinite(total)), ("gradient", bool(np.isfinite(gradient).all()))):
            if not finite:
                value = total if what == "cost" else "infinite or NaN"
                raise Diverged(
                    f"{what} became {value} at evaluation {self.evaluations}; lower the weights or the learning rate"
                )
        if self._first is None and (largest := float(np.abs(gradient).max())) > 0.0:
            # The scale is a power of two, so it causes no rounding.
            self.scale = math.ldexp(1.0, -math.frexp(largest)[1])
        self._first = total if self._first is None else self._first
        # Normalized gradients do not minimize the sum of the costs, so the latest picture counts as the best one.
        latest = self.objective.preset.normalize_gradients
        if self.best_costs is None or latest or total < self.best_costs.total_cost:
            self.best, self.best_costs, self._improved = pixels.copy(), costs, True
        return costs, gradient * np.float32(self.scale)

    def advance(self, pixels: Pixels, costs: Costs) -> None:
        """Report an iteration that ended at `pixels`.

        Raises:
            Diverged: The cost is 1000 times the first one. The trials of a line search are not checked.
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
    descent: Descent,
    start: Pixels,
    optimizer: str,
    iterations: int,
    learning_rate: float | None = None,
    betas: tuple[float, float] | None = None,
    epsilon: float | None = None,
) -> bool:
    """Run `optimizer` from `start` [1, H, W, 3] for at most `iterations`. The outcome is `descent.best`.

    Args:
        learning_rate: Largest change of a pixel in a step of Adam and (at first) gradient descent. L-BFGS has none.
        betas: Adam's two decay rates; None for 0.9 and 0.99.
        epsilon: Number that Adam adds to the root of the second average. None for 1e-8 of the largest root, because the
            costs of presets differ by ten orders of magnitude.

    Returns:
        True if the run ended early because no step lowers the cost.

    Raises:
        InvalidOption: The optimizer is unknown, or an option is not for it.
        Diverged, StopRun: `Descent.evaluate` raises them. Errors of the progress callback are passed on.
    """
    if optimizer not in OPTIMIZERS:
        raise InvalidOption(f"unknown optimizer {optimizer!r}; known: {', '.join(OPTIMIZERS)}")
    if optimizer == "lbfgs":
        if learning_rate is not None:
            raise InvalidOption("lbfgs finds its own step; a learning rate is for adam and gradient-descent")
        return _lbfgs(descent, start, iterations)
    rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    if optimizer == "adam":
        return _adam(descent, start, iterations, rate, betas or ADAM_BETAS, epsilon)
    return _gradient_descent(descent, start, iterations, rate)


def _lbfgs(descent: Descent, start: Pixels, iterations: int) -> bool:
    """Minimize by L-BFGS over the free pixels, with projected steps.

    The two-metric projection of Gafni & Bertsekas 1984 with the two-loop recursion of Nocedal 1980. A pixel at a bound
    whose gradient points outwards is held. The quasi-Newton step is taken in the subspace of the others, from the parts
    of the kept pairs that lie in it. Steps are clipped to 0..1 and shortened until the cost falls enough. L-BFGS-B ends
    a step when the first pixel reaches a bound, and so ends higher if many pixels are at a bound.
    """
    pixels = start
    costs, gradient = descent.evaluate(pixels)
    pairs: deque[tuple[Pixels, Pixels]] = deque(maxlen=LBFGS_MEMORY)
    length = 0.0
    begun = descent.iterations
    while descent.iterations - begun < iterations:
        free = ~(((pixels <= 0.0) & (gradient > 0.0)) | ((pixels >= 1.0) & (gradient < 0.0)))
        if not length:
            length = FIRST_STEP_RMS * gradient.size**0.5 / max(_norm(gradient * free), 1e-30)
        direction, curved = _two_loop(gradient * free, pairs, free, length)
        found = _search(descent, pixels, costs, gradient, -direction)
        if found is None:
            if not pairs:
                return True
            # Rounding can make a search fail long before the minimum. A fresh start forgets misleading curvature.
            pairs.clear()
            length = 0.0
            continue
        trial, trial_costs, trial_gradient = found
        if not curved and not pairs:
            # The cost is concave along the last steps, so the curvature gives no good length.
            length *= 2.0
        step, change = trial - pixels, trial_gradient - gradient
        if _dot(step, change) > 0.0:
            pairs.append((step, change))
        pixels, costs, gradient = trial, trial_costs, trial_gradient
        descent.advance(pixels, costs)
    return False


def _two_loop(
    gradient: Pixels, pairs: deque[tuple[Pixels, Pixels]], free: NDArray[np.bool_], length: float
) -> tuple[Pixels, bool]:
    """Return the inverse Hessian of the free pixels times `gradient`, and whether any pair had positive curvature.

    Args:
        length: Factor in place of the inverse Hessian if no pair has positive curvature.
    """
    used = []
    found = gradient
    for step, change in reversed(pairs):
        s, y = step * free, change * free
        curvature = _dot(s, y)
        if curvature <= 0.0:
            continue
        share = _dot(s, found) / curvature
        found = found - np.float32(share) * y
        used.append((s, y, curvature, share))
    found = found * np.float32(used[0][2] / _dot(used[0][1], used[0][1]) if used else length)
    for s, y, curvature, share in reversed(used):
        found = found + np.float32(share - _dot(y, found) / curvature) * s
    return found * free, bool(used)


def _search(
    descent: Descent, pixels: Pixels, costs: Costs, gradient: Pixels, direction: Pixels
) -> tuple[Pixels, Costs, Pixels] | None:
    """Return the first point along the projected `direction` whose cost is low enough, its costs and its gradient.

    Steps shrink to the minimum of a parabola, between a tenth and a half. Returns None if no step lowers the cost.
    """
    length = 1.0
    for _ in range(LINE_SEARCH_TRIALS):
        trial = np.clip(pixels + np.float32(length) * direction, 0.0, 1.0)
        predicted = _dot(gradient, trial - pixels)
        if predicted >= 0.0:
            return None
        trial_costs, trial_gradient = descent.evaluate(trial)
        change = descent.scale * (trial_costs.total_cost - costs.total_cost)
        if change <= SUFFICIENT_DECREASE * predicted:
            return trial, trial_costs, trial_gradient
        length *= min(0.5, max(0.1, -predicted / (2.0 * max(change - predicted, 1e-30))))
    return None


def _dot(a: Pixels, b: Pixels) -> float:
    return float(np.dot(a.ravel(), b.ravel()))


def _norm(a: Pixels) -> float:
    return float(np.linalg.norm(a))


def _adam(
    descent: Descent,
    start: Pixels,
    iterations: int,
    rate: float,
    betas: tuple[float, float],
    epsilon: float | None,
) -> bool:
    """Minimize by Adam (Kingma & Ba 2015, algorithm 1); pixels are clipped after each step."""
    beta1, beta2 = betas
    pixels = start.copy()
    mean = np.zeros_like(pixels)
    square = np.zeros_like(pixels)
    _, gradient = descent.evaluate(pixels)
    for t in range(1, iterations + 1):
        mean += (1 - beta1) * (gradient - mean)
        square += (1 - beta2) * (gradient * gradient - square)
        root = np.sqrt(square / (1 - beta2**t))
        floor = 1e-8 * root.max() + 1e-30 if epsilon is None else epsilon * descent.scale
        step = mean / (1 - beta1**t) / (root + np.float32(floor))
        pixels = np.clip(pixels - np.float32(rate) * step, 0.0, 1.0).astype(np.float32)
        costs, gradient = descent.evaluate(pixels)
        descent.advance(pixels, costs)
    return False


def _gradient_descent(descent: Descent, start: Pixels, iterations: int, rate: float) -> bool:
    """Minimize by projected steepest descent.

    A step that raises the cost is undone and halved. After a step that lowers it, the next is longer by a fifth ("bold
    driver"). A fixed step is too short or diverges, because curvature differs by orders of magnitude between presets
    and within one run.
    """
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
