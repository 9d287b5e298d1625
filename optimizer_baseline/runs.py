"""The folder of a run: snapshots, history, cost curves, animation, and the state to resume from.

run.json       settings and pictures          history.json, history.csv   one record per iteration
state.npz      where to resume                curves.png                  costs over evaluations
snapshots/     000050.png, 000100.png, …      run.webp or run.gif         the snapshots as a film
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import BaselineError
from .transfer import Progress, State

FRAME_MILLISECONDS = 120
LAST_FRAME_MILLISECONDS = 2000


class RunFolder:
    """The folder of one run. Files are replaced atomically, so a crash leaves the old ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.snapshots = path / "snapshots"
        self.records: list[dict[str, Any]] = []

    def create(self, arguments: Mapping[str, Any]) -> None:
        """Make the folder and save the options of the run.

        Raises:
            BaselineError: The folder has a run already, which can be resumed.
        """
        if (self.path / "state.npz").exists():
            raise BaselineError(f"{self.path} holds a run already; --resume {self.path}, or choose another folder")
        self.snapshots.mkdir(parents=True, exist_ok=True)
        self.remember(arguments)

    def remember(self, arguments: Mapping[str, Any]) -> None:
        """Save the changed options of the run."""
        _replace(self.path / "run.json", json.dumps(dict(arguments), indent=2).encode())

    def open(self) -> tuple[dict[str, Any], State]:
        """Return the options and the state of the run.

        Raises:
            BaselineError: The folder has no run, or the run was never saved.
        """
        try:
            arguments: dict[str, Any] = json.loads((self.path / "run.json").read_text())
            self.records = json.loads((self.path / "history.json").read_text())
            with np.load(self.path / "state.npz", allow_pickle=False) as file:
                state = State(
                    int(file["scale"]),
                    int(file["done"]),
                    int(file["iteration"]),
                    int(file["evaluations"]),
                    float(file["seconds"]),
                    file["pixels"].astype(np.float32),
                    file["best"].astype(np.float32) if "best" in file else None,
                )
        except FileNotFoundError as error:
            raise BaselineError(f"{self.path} holds no run to resume: no {Path(error.filename).name}") from None
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise BaselineError(f"cannot resume {self.path}: {error}") from error
        self.records = [record for record in self.records if record["iteration"] <= state.iteration]
        return arguments, state

    def add(self, progress: Progress) -> None:
        """Add one iteration to the history. `snapshot` writes it to the disk."""
        self.records.append(record(progress))

    def snapshot(self, progress: Progress) -> None:
        """Save the current picture, the state and the history."""
        picture = self.path / "snapshot.part.png"
        progress.picture().save(picture)
        picture.replace(self.snapshots / f"{progress.iteration:06d}.png")
        fields = {name: value for name, value in progress.state().__dict__.items() if value is not None}
        part = self.path / "state.part.npz"
        np.savez(part, **fields)
        part.replace(self.path / "state.npz")
        _replace(self.path / "history.json", json.dumps(self.records, indent=1).encode())

    def finish(self, film: str = "webp") -> None:
        """Write the history as CSV, the cost curves, and the snapshots as an animation ("webp" or "gif")."""
        if not self.records:
            return
        flat = [_flat(r) for r in self.records]
        with (self.path / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(flat[0]))
            writer.writeheader()
            writer.writerows(flat)
        curves(self.records, self.path / "curves.png")
        frames = [Image.open(p).convert("RGB") for p in sorted(self.snapshots.glob("*.png"))]
        if frames:
            animate(frames, self.path / f"run.{film}")


def record(progress: Progress) -> dict[str, Any]:
    """Return a `Progress` as plain numbers, for JSON."""
    costs = progress.costs
    return {
        "iteration": progress.iteration,
        "evaluations": progress.evaluations,
        "seconds": round(progress.seconds, 4),
        "scale": progress.scale,
        "width": progress.width,
        "height": progress.height,
        "total_cost": costs.total_cost,
        "content_cost": costs.weighted_content_cost,
        "style_cost": costs.weighted_style_cost,
        "total_variation": costs.weighted_total_variation,
        "style_cost_by_layer": dict(costs.weighted_style_cost_by_layer),
    }


def curves(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw weighted costs over evaluations as a PNG, with a dotted line wherever a finer scale begins."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    x = [r["evaluations"] for r in records]
    for key, label in (
        ("total_cost", "total"),
        ("content_cost", "content"),
        ("style_cost", "style"),
        ("total_variation", "total variation"),
    ):
        values = [r[key] for r in records]
        if any(v > 0 for v in values):
            axes.plot(x, values, label=label, linewidth=2.2 if key == "total_cost" else 1.2)
    for before, after in pairwise(records):
        if before["scale"] != after["scale"]:
            axes.axvline(after["evaluations"], color="gray", linestyle=":", linewidth=1)
    axes.set(xlabel="evaluations of cost and gradient", ylabel="weighted cost", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def animate(frames: Sequence[Image.Image], path: Path) -> None:
    """Write `frames` as an animated WebP or GIF. All get the size of the last frame, which is shown for two seconds."""
    last = frames[-1]
    sized = [f if f.size == last.size else f.resize(last.size, Image.Resampling.BICUBIC) for f in frames]
    durations = [FRAME_MILLISECONDS] * (len(sized) - 1) + [LAST_FRAME_MILLISECONDS]
    sized[0].save(path, save_all=True, append_images=sized[1:], duration=durations, loop=0)


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    flat = {k: v for k, v in entry.items() if k != "style_cost_by_layer"}
    return flat | {f"style_cost_{layer}": v for layer, v in entry["style_cost_by_layer"].items()}


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
