"""The full model's transformer in int8 at 256x256: time and quality against f32 and bf16.

    python -m benchmarks int8 [SAVED_MODEL [PICTURES]]

SAVED_MODEL is a folder with the published files; without it a model with the real graph and random weights is made,
whose pictures mean nothing. PICTURES has the folders `content` and `style` (default: examples). The model is quantised
into a copy with each number of floating point blocks, whatever its PSNR. The costs are Gatys et al.'s, by
optimizer_baseline on held-out pairs, as the median over the pairs of cost / cost of the f32 picture; 1 is no loss.
"""

import logging
import statistics
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.full import full
from stylewire_server.models.network import Network
from stylewire_server.preparation import quantize
from stylewire_server.preparation.fetch import psnr

from optimizer_baseline import score

from .common import ROOT, full_edition, interleaved, summary, table, write

ROUNDS = 30


def image(pixels: np.ndarray) -> Image.Image:
    """Pixels [1,H,W,3] in 0..1 as a picture of 8 bits."""
    return Image.fromarray(np.rint(pixels[0] * 255).astype(np.uint8))


def engines(network: Network, calibration: list[quantize.Pair], scratch: Path) -> dict[str, OpenVinoEngine]:
    """Name -> engine: f32, bf16, and int8 with each number of blocks in floating point."""
    made = {precision: OpenVinoEngine(network, precision) for precision in ("f32", "bf16")}
    inputs = [[pair.content, made["f32"].predict(pair.style)] for pair in calibration]
    for blocks in quantize.FLOAT_BLOCKS:
        model = quantize.quantised(nncf, network.transformer(ov.Core()), inputs, blocks)
        path = scratch / f"int8_{blocks}.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        network = replace(network, int8=lambda core, path=path: core.read_model(path))
        made[f"int8, {blocks} float blocks"] = OpenVinoEngine(network, "int8")
    # As on a CPU that has no bf16.
    made["int8, 0 float blocks, rest f32"] = OpenVinoEngine(
        replace(network, bf16=frozenset(), int8=lambda core: core.read_model(scratch / "int8_0.xml")), "int8"
    )
    return made


def measure(contenders: dict[str, OpenVinoEngine], held_out: list[quantize.Pair]) -> list[dict[str, Any]]:
    """A row for each engine."""
    pair = held_out[0]
    vector = contenders["f32"].predict(pair.style)
    calls = {name: partial(engine.transform, pair.content, vector) for name, engine in contenders.items()}
    found = {name: summary(seconds) for name, seconds in interleaved(calls, ROUNDS).items()}
    levels: dict[str, list[float]] = {name: [] for name in contenders}
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for pair in held_out:
        pictures = {name: one.transform(pair.content, one.predict(pair.style)) for name, one in contenders.items()}
        scores = score(
            image(pair.content), image(pair.style), [image(one) for one in pictures.values()], network="vgg16"
        )
        base = scores[list(pictures).index("f32")].costs
        for (name, picture), scored in zip(pictures.items(), scores, strict=True):
            levels[name].append(psnr(picture, pictures["f32"]))
            ratios = scored.costs.content_cost / base.content_cost, scored.costs.style_cost / base.style_cost
            costs[name].append(ratios)
    return [
        {
            "transformer": name,
            "median_ms": found[name]["median_ms"],
            "vs f32": found[name]["median_ms"] / found["f32"]["median_ms"],
            "vs bf16": found[name]["median_ms"] / found["bf16"]["median_ms"],
            "PSNR min, dB": min(levels[name]),
            "PSNR median, dB": statistics.median(levels[name]),
            "content cost": statistics.median(content for content, _ in costs[name]),
            "style cost": statistics.median(style for _, style in costs[name]),
            "worst style cost": max(style for _, style in costs[name]),
        }
        for name in contenders
    ]


def main() -> None:
    """Prints a table and writes results/int8.json."""
    nncf.set_log_level(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = full_edition(sys.argv[1:2], scratch)
        if found is None:
            return
        pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "examples"
        calibration, held_out = quantize.read_pairs(pictures)
        rows = measure(engines(full(found.converted), calibration, scratch), held_out)
    table(rows)
    write("int8", {"job": f"256x256, {found.weights} weights, {len(held_out)} held-out pairs", "rows": rows})


if __name__ == "__main__":
    main()
