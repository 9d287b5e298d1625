"""`compare`: make the feed-forward and the optimized picture of every content in every style, and measure both."""

from __future__ import annotations

import datetime
import gc
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from .. import images
from ..errors import BaselineError, InvalidOption
from ..feedforward import REPEATS, FeedForward, Pass
from ..images import Pixels
from ..objective import presets
from ..objective.objective import Costs, Objective, Style
from ..objective.presets import Preset
from ..optimize import Descent, Step, minimize
from ..vgg import weights as vgg_weights
from ..vgg.precision import resolve
from . import answer, machine
from .answer import Point
from .similarity import PerceptualDistance, ssim

log = logging.getLogger(__name__)

SCHEMA = "stylewire-comparison/1"
SCORED = ("magenta", "gatys2016")
# The predictor takes a style of 256x256 px, so a smaller style picture would be blurred.
STYLE_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The pictures and options of a comparison.

    Attributes:
        contents, styles: Picture files. Every content is combined with every style.
        size: Longer side in pixels of contents, styles and results, for both engines.
        iterations: Iterations of L-BFGS, which starts from the content.
        preset: The cost that L-BFGS minimizes. The answer is about this cost.
        scored: The presets under which both pictures are scored; `preset` is added.
        network: The VGG for all presets, in place of their own.
        weights, precision: As in `Settings`; scores are always computed in float32.
        repeats: Timed passes of each kind.
    """

    contents: Sequence[Path]
    styles: Sequence[Path]
    size: int = 256
    iterations: int = 100
    preset: str = "magenta"
    scored: Sequence[str] = SCORED
    network: str = "vgg16"
    weights: str = "auto"
    precision: str = "auto"
    repeats: int = REPEATS
    costs: Mapping[str, Preset] = field(init=False)

    def __post_init__(self) -> None:
        for name, least in (("size", 32), ("iterations", 1), ("repeats", 1)):
            if getattr(self, name) < least:
                raise InvalidOption(f"{name} is {getattr(self, name)}; the minimum is {least}")
        for what, paths in (("content", self.contents), ("style", self.styles)):
            stems = [path.stem for path in paths]
            if not stems:
                raise InvalidOption(f"no {what} picture; at least one is needed")
            if twice := {stem for stem in stems if stems.count(stem) > 1}:
                raise InvalidOption(f"two {what} pictures are called {sorted(twice)[0]!r}; names have to differ")
        pairs = [pair_name(content, style) for content in self.contents for style in self.styles]
        if twice := {pair for pair in pairs if pairs.count(pair) > 1}:
            raise InvalidOption(f"two pairs are called {sorted(twice)[0]!r}; rename one of their pictures")
        names = dict.fromkeys((self.preset, *self.scored))
        costs = {name: presets.preset(name).replace(network=self.network) for name in names}
        object.__setattr__(self, "costs", costs)

    def settings(self) -> dict[str, Any]:
        """Return the options that decide the numbers, ready for JSON."""
        return {
            "size": self.size,
            "optimizer": "lbfgs",
            "init": "content",
            "iterations": self.iterations,
            "preset": self.preset,
            "scored": list(self.costs),
            "network": self.network,
            "precision": resolve(self.precision),
            "repeats": self.repeats,
        }


def pair_name(content: Path, style: Path) -> str:
    """Return the name of a pair and of its files."""
    return f"{content.stem}--{style.stem}"


@dataclass(frozen=True)
class Progress:
    """The progress of a comparison: pair `number` of `pairs`, `done` of `iterations`, and the state of the pair."""

    number: int
    pairs: int
    name: str
    done: int
    iterations: int
    state: str = "running"
    message: str = ""


Callback = Callable[[Progress], None]


def compare(
    plan: Plan,
    feedforward: FeedForward,
    out: Path,
    *,
    server_pid: int | None = None,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Run every pair of `plan` and write pictures and results.json into `out` (docs/reference/comparison-report.md).

    A pair that is finished there, with the same pictures, settings and networks, is not done again. A pair that fails
    is noted with its error and does not stop the others.

    Args:
        feedforward: A connection to the server whose pictures are compared.
        server_pid: Process id of the server, if it runs on this machine, to measure its memory.

    Returns:
        The contents of results.json.

    Raises:
        BaselineError: The weights cannot be used, or no server answers.
    """
    weights = vgg_weights.load(plan.network, plan.weights)
    model = feedforward.model()
    settings = {**plan.settings(), "weights": weights.source, "weights_sha256": weights.digest}
    runner = _Pairs(plan, weights, feedforward, out, server_pid)
    (out / "pairs").mkdir(parents=True, exist_ok=True)
    everything = [(c, s) for c in plan.contents for s in plan.styles]
    done: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for number, (content, style) in enumerate(everything, 1):
        name = pair_name(content, style)

        def report(iteration: int, state: str = "running", message: str = "", at: Any = (number, name)) -> None:
            if callback is not None:
                callback(Progress(at[0], len(everything), at[1], iteration, plan.iterations, state, message))

        report(0)
        try:
            fingerprint = _fingerprint({"settings": settings, "model": model}, content, style)
            kept = _finished(out / "pairs" / f"{name}.json", fingerprint, out)
            if kept is None:
                kept = runner.run(name, content, style, report)
                _write(out / "pairs" / f"{name}.json", {"fingerprint": fingerprint, "pair": kept})
                report(plan.iterations, "finished", kept["answer"]["sentence"])
            else:
                report(plan.iterations, "restored")
            done.append({**kept, "content": _relative(content, out), "style": _relative(style, out)})
        except (BaselineError, OSError) as error:
            log.info("%s: %s", name, error)
            failures.append({"content": _relative(content, out), "style": _relative(style, out), "error": str(error)})
            report(0, "failed", str(error))
        # Compiled graphs and their tensors are in reference cycles. Without this call, gigabytes of them stay.
        gc.collect()
    results = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": settings,
        "feedforward": model,
        "versions": machine.versions(),
        "machine": machine.describe(),
        "summary": answer.summary(done),
        "pairs": done,
        "failures": failures,
    }
    _write(out / "results.json", results)
    return results


class _Pairs:
    """Runs one pair after the other with one set of weights."""

    def __init__(
        self, plan: Plan, weights: vgg_weights.Weights, feedforward: FeedForward, out: Path, server_pid: int | None
    ) -> None:
        self.plan, self.weights, self.feedforward, self.out, self.server_pid = (
            plan, weights, feedforward, out, server_pid,
        )  # fmt: skip
        self.distance = PerceptualDistance(weights)

    def run(self, name: str, content_file: Path, style_file: Path, report: Callable[[int], None]) -> dict[str, Any]:
        plan = self.plan
        content = images.fit(images.load(content_file, "content"), plan.size)
        style = images.load(style_file, "style")
        self._save(content, f"content-{content_file.stem}")
        self._save(images.fit(style, plan.size), f"style-{style_file.stem}")

        machine.reset_peak(self.server_pid)
        one = self.feedforward.timed(content, images.fit(style, max(plan.size, STYLE_SIDE)), plan.repeats)
        server_peak = machine.peak_megabytes(self.server_pid) if self.server_pid else None

        pixels, style_pixels = images.to_pixels(content), images.to_pixels(images.fit(style, plan.size))
        machine.reset_peak()
        optimized, curve, pass_cost = self._optimize(pixels, style_pixels, images.to_pixels(one.picture), report)
        peak = machine.peak_megabytes()

        # Score the picture rounded to 8 bits, like the feed-forward picture.
        picture = images.to_image(optimized)
        rounded, passed = images.to_pixels(picture), images.to_pixels(one.picture)
        scores = self._scores(pixels, style_pixels, {"feedforward": passed, "optimized": rounded, "content": pixels})
        return {
            "name": name,
            "width": content.width,
            "height": content.height,
            "content_picture": f"pairs/content-{content_file.stem}.png",
            "style_picture": f"pairs/style-{style_file.stem}.png",
            "feedforward": {
                "picture": self._save(one.picture, f"{name}-feedforward"),
                **_timings(one),
                "peak_memory_mb": server_peak,
                "scores": scores["feedforward"],
                **self._likeness(passed, pixels),
            },
            "optimized": {
                "picture": self._save(picture, f"{name}-optimized"),
                "iterations": len(curve) - 1,
                "evaluations": curve[-1].evaluations,
                "seconds": curve[-1].seconds,
                "peak_memory_mb": peak,
                "scores": scores["optimized"],
                **self._likeness(rounded, pixels),
            },
            "unchanged_content": {"scores": scores["content"]},
            "between": {"ssim": ssim(passed, rounded), "perceptual_distance": self.distance(passed, rounded)},
            "curve": [asdict(point) for point in curve],
            "answer": answer.answer(curve, pass_cost, one.new_style_ms).as_dict(),
        }

    def _optimize(
        self, content: Pixels, style: Pixels, passed: Pixels, report: Callable[[int], None]
    ) -> tuple[Pixels, list[Point], float]:
        """Return the best picture, the curve with the start, and the cost of `passed` in the same arithmetic."""
        plan = self.plan
        objective = Objective(
            content, [Style(style)], plan.costs[plan.preset], self.weights, bfloat16=resolve(plan.precision) == "bf16"
        )
        # Time both engines warm: a run excludes compiling, as a pass excludes loading.
        objective.value_and_gradient(content)
        began = time.perf_counter()
        start, _ = objective.value_and_gradient(content)
        curve = [_point(1, time.perf_counter() - began, start)]
        pass_costs, _ = objective.value_and_gradient(passed)

        def each(step: Step) -> None:
            curve.append(_point(step.evaluations, step.seconds, step.costs))
            report(step.iteration)

        descent = Descent(objective, each)
        minimize(descent, content, "lbfgs", plan.iterations)
        assert descent.best is not None
        return descent.best, curve, pass_costs.total_cost

    def _scores(self, content: Pixels, style: Pixels, pictures: Mapping[str, Pixels]) -> dict[str, dict[str, Any]]:
        table: dict[str, dict[str, Any]] = {name: {} for name in pictures}
        for preset in self.plan.costs.values():
            objective = Objective(content, [Style(style)], preset, self.weights)
            for name, pixels in pictures.items():
                table[name][preset.name] = addends(objective.costs(pixels))
        return table

    def _likeness(self, picture: Pixels, content: Pixels) -> dict[str, float]:
        return {
            "ssim_to_content": ssim(picture, content),
            "perceptual_distance_to_content": self.distance(picture, content),
        }

    def _save(self, picture: Image.Image, name: str) -> str:
        path = f"pairs/{name}.png"
        picture.save(self.out / path)
        return path


def addends(costs: Costs) -> dict[str, float]:
    """Return the total and its parts: weighted content cost, style cost and total variation."""
    return {
        "content_cost": costs.weighted_content_cost,
        "style_cost": costs.weighted_style_cost,
        "total_variation": costs.weighted_total_variation,
        "total_cost": costs.total_cost,
    }


def _point(evaluations: int, seconds: float, costs: Costs) -> Point:
    return Point(evaluations, seconds, costs.total_cost, costs.weighted_content_cost, costs.weighted_style_cost)


def _timings(one: Pass) -> dict[str, float]:
    return {"ms": one.new_style_ms, "known_style_ms": one.known_style_ms, "engine_ms": one.engine_ms}


def _fingerprint(context: Mapping[str, Any], content: Path, style: Path) -> str:
    """Return a hash of everything that a pair's numbers depend on, except the machine."""
    total = hashlib.sha256(json.dumps({"schema": SCHEMA, **context}, sort_keys=True).encode())
    for path in (content, style):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _finished(path: Path, fingerprint: str, out: Path) -> dict[str, Any] | None:
    """Return the pair in the file `path` if it has this fingerprint and its pictures exist."""
    try:
        kept = json.loads(path.read_text())
        pair: dict[str, Any] = kept["pair"]
        pictures = [
            pair["content_picture"], pair["style_picture"], pair["feedforward"]["picture"], pair["optimized"]["picture"]
        ]  # fmt: skip
        return pair if kept["fingerprint"] == fingerprint and all((out / p).exists() for p in pictures) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _write(path: Path, table: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(table, indent=1) + "\n")
    part.replace(path)
