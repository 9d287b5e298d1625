"""Helpers of all benchmarks: the job, statistics, a description of the machine, tables, JSON files."""

import argparse
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from stylewire_server.testing import ServerProcess, running_server

from optimizer_baseline.comparison.machine import describe, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"

CONTENT = ROOT / "examples" / "content" / "astronaut.jpg"
STYLE = ROOT / "examples" / "style" / "waves.jpg"


GENERATOR = ROOT.parent / "shared" / "models" / "make_random_savedmodel.py"


def content_jpeg(side: int = 512) -> bytes:
    """The content of the benchmarks' job: a photograph of side x side px as a JPEG of quality 90."""
    out = io.BytesIO()
    with Image.open(CONTENT) as image:
        image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS).save(out, "JPEG", quality=90)
    return out.getvalue()


def style_jpeg() -> bytes:
    """The style of the benchmarks' job, 512x512 px."""
    return STYLE.read_bytes()


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 3, block: int = 1
) -> dict[str, list[float]]:
    """Seconds of each call, the contenders in turn, so that a drift of the machine meets them all alike.

    Args:
        contenders: What is called.
        rounds: Calls of each.
        warmup: Calls of each that are not counted, at the start of every block.
        block: Calls in a row. An engine's threads go on spinning for a while after their work; in blocks they do so on
            their own time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds // block):
        for name, call in contenders.items():
            for _ in range(warmup if block > 1 or turn == 0 else 0):
                call()
            for _ in range(block):
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    return seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share (0..1) of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, p95 and p99 in milliseconds, and how many there were."""
    return {
        "median_ms": statistics.median(seconds) * 1e3,
        "p95_ms": percentile(seconds, 0.95) * 1e3,
        "p99_ms": percentile(seconds, 0.99) * 1e3,
        "count": len(seconds),
    }


def machine() -> dict[str, Any]:
    """Return what this ran on."""
    return {**describe(), "versions": versions()}


def write(name: str, results: Mapping[str, Any]) -> Path:
    """The results with the machine that they are of, as benchmarks/results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    print(f"\nwrote {path.relative_to(ROOT)}")
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows with the keys of the first as the head."""
    head = list(rows[0])
    cells = [head, *([_cell(row.get(key, "")) for key in head] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for index, row in enumerate(cells):
        print(
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )
        if index == 0:
            print("  ".join("-" * width for width in widths))


def serving(*flags: object) -> AbstractContextManager[ServerProcess]:
    """Return a server process with those flags that logs warnings only; without flags the lite edition."""
    return running_server("--log-level", "warning", *(flags or ("--model", "lite")))


def cpu_seconds(server: ServerProcess) -> float:
    """Return the CPU seconds that a server has taken so far."""
    return sum(psutil.Process(server.process.pid).cpu_times()[:2])


def load(target: str, kind: str, amount: float, seconds: float, **job: Any) -> dict[str, Any]:
    """Put load on a server, and return what `load.py` prints.

    Args:
        target: HOST:PORT, or another target of gRPC.
        kind: "closed" or "open".
        amount: Callers of a closed loop, calls a second of an open one.
        seconds: For how long.
        **job: `side` and `name` of the job, `connections` and `at_random` of an open loop.
    """
    amounts = {"callers": int(amount)} if kind == "closed" else {"rate": amount}
    return child("load", {"target": target, "kind": kind, "seconds": seconds, **amounts, **job})


def child(module: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module of this folder in a process of its own with one argument, as JSON, and return what it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", json.dumps(given)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def parser(documentation: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of a benchmark."""
    form = argparse.RawDescriptionHelpFormatter
    # An abbreviation could take a flag that is meant for `serve`.
    return argparse.ArgumentParser(description=documentation, formatter_class=form, allow_abbrev=False)


def _cell(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 100
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


@dataclass(frozen=True)
class FullEdition:
    """The parts of the full edition that can be measured.

    Attributes:
        saved_model: Folder of the SavedModel.
        converted: Folder that `fetch` made of it.
        weights: What they are: as given, or random. Random ones cost the same, and their pictures mean nothing.
    """

    saved_model: Path
    converted: Path
    weights: str


def full_edition(saved_model: Path | None, scratch: Path) -> FullEdition | None:
    """Convert a SavedModel, or without one a model of random weights that is made in `scratch`.

    None, with a message, where no folder is given and the generator of random weights does not lie beside this
    checkout.
    """
    from stylewire_server.preparation.fetch import fetch

    weights = "as given"
    if saved_model is None:
        if not GENERATOR.is_file():
            print("the full model is left out: give the folder of its SavedModel with --saved-model")
            return None
        saved_model, weights = scratch / "model", "random"
        subprocess.run([sys.executable, str(GENERATOR), str(saved_model)], check=True, stderr=subprocess.DEVNULL)
    return FullEdition(saved_model, fetch(scratch / "cache", source=saved_model, allow_unverified=True), weights)


def add_saved_model(arguments: argparse.ArgumentParser) -> None:
    """Add the flag --saved-model, the folder for `full_edition`."""
    arguments.add_argument(
        "--saved-model",
        type=Path,
        metavar="FOLDER",
        help="the full model's published files (default: its graph with random weights, which costs the same; "
        "its pictures mean nothing)",
    )


def server_flags(flags: Sequence[str], scratch: Path) -> list[str]:
    """Return flags of `serve`, with `--model random` replaced by the folder of a full model with random weights."""
    if list(flags[:2]) != ["--model", "random"]:
        return list(flags)
    found = full_edition(None, scratch)
    if found is None:
        sys.exit("no random weights without their generator: give --model FOLDER")
    return ["--model", str(found.converted), *flags[2:]]
