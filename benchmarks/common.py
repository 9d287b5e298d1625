"""What every benchmark here needs: the job, statistics, the machine, a table, a JSON file."""

import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

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


@contextmanager
def server(command: Sequence[str]) -> Iterator[str]:
    """A server process that prints `serving on HOST:PORT …`; yields HOST:PORT and stops it in the end."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        banner = process.stdout.readline()
        if not banner.startswith("serving on "):
            raise SystemExit(f"{' '.join(command)} did not start")
        yield banner.split()[2]
    finally:
        process.terminate()
        process.wait(60)


def server_proc() -> Path:
    """The folder in /proc of this process's one child: the server that is being measured."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return Path("/proc", children[-1])


def load(target: str, kind: str, amount: float, seconds: float, side: int | None = None) -> dict[str, Any]:
    """One round of load.py, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", target, kind, f"{amount:g}", f"{seconds:g}"]
    command += [] if side is None else [str(side)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


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
    """What there is to measure.

    Attributes:
        saved_model: Folder of the SavedModel.
        converted: Folder that `fetch` made of it.
        weights: What they are: as given, or random. Random ones cost the same, and their pictures mean nothing.
    """

    saved_model: Path
    converted: Path
    weights: str


def full_edition(given: Sequence[str], scratch: Path) -> FullEdition | None:
    """Of the SavedModel's folder that is the first of `given`, else of random weights; made in `scratch`.

    None, and says so, where no folder is given and the generator of random weights does not lie beside this checkout.
    """
    from stylewire_server.preparation.fetch import fetch

    if given:
        saved_model, weights = Path(given[0]), "as given"
    elif GENERATOR.is_file():
        saved_model, weights = scratch / "model", "random"
        subprocess.run([sys.executable, str(GENERATOR), str(saved_model)], check=True, stderr=subprocess.DEVNULL)
    else:
        print("the full model is left out: give the folder of its SavedModel")
        return None
    return FullEdition(saved_model, fetch(scratch / "cache", source=saved_model, allow_unverified=True), weights)


def served(flags: Sequence[str], scratch: Path) -> list[str]:
    """The server's flags with `--model random` made true: its folder put in place of the word."""
    if list(flags[:2]) != ["--model", "random"]:
        return list(flags)
    found = full_edition([], scratch)
    if found is None:
        sys.exit("no random weights without their generator: give --model FOLDER")
    return ["--model", str(found.converted), *flags[2:]]
