"""The transformers alone: lite, full and full in int8, against the original graphs and the machine's arithmetic.

    python -m benchmarks engine [--only lite|full|int8] [--saved-model FOLDER] [--pictures FOLDER]

lite: ours against the ONNX graph as shipped, at three sizes.

full: a whole pass at 256x256 px in f32 and bf16 against TensorFlow's own call of the SavedModel.

int8: the full transformer in int8 at 256x256 px: time and quality against f32 and bf16. The model is quantized into a
copy with each number of floating point blocks, whatever its PSNR. The costs are Gatys et al.'s, by optimizer_baseline
on held-out pairs of --pictures, as the median over the pairs of cost / cost of the f32 picture; 1 is no loss. bf16
needs a CPU that computes in it.

Contenders run in turn, so that a drift of the machine meets them all alike. An arithmetic limit is the number of
multiplications and additions divided by the rate at which this machine multiplies large matrices in the same precision,
measured in the same run through the same engine.
"""

import logging
import statistics
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine, computes_bf16
from stylewire_server.models.full import full
from stylewire_server.models.lite import lite, locate
from stylewire_server.models.network import Network

from .common import (
    CONTENT,
    ROOT,
    STYLE,
    FullEdition,
    add_saved_model,
    full_edition,
    interleaved,
    parser,
    summary,
    table,
    write,
)

if TYPE_CHECKING:
    from stylewire_server.preparation.quantize import Pair

LITE_ROUNDS = {256: 120, 512: 40, 1024: 12}
"""Calls by side in px."""

LITE_FLOP_PER_PIXEL = 1.64e9 / 256**2
"""Shapes of the lite transformer's convolutions."""

SIDE = 256
"""Sides of the full edition's pictures in pixels."""

FULL_ROUNDS = 30

FULL_GFLOP, TRANSFORM_GFLOP = 62.9, 56.6
"""Of a whole pass and of its transform, counted on the published graph: 2 for each product and sum."""

MATRIX = (1024, 1024, 1024)
MATRICES = (MATRIX, (2048, 2048, 2048), (4096, 4096, 1024))
"""Rows, inner length, columns; the limit of the full edition is by the best of them."""


def matrix_product(shape: tuple[int, int, int], precision: str) -> partial:
    """Return a call of a product with a constant right factor, as a network's weights are."""
    rows, inner, columns = shape
    rng = np.random.default_rng(0)
    left = op.parameter([rows, inner], np.float32)
    right = op.constant(rng.normal(size=(inner, columns)).astype(np.float32))
    model = ov.Model([op.matmul(left, right, False, False)], [left])
    request = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()
    return partial(request.infer, [rng.random((rows, inner), np.float32)], share_inputs=True)


def onnx_transform(side: int) -> ov.InferRequest:
    """Return the lite edition's ONNX transformer for that size, compiled with OpenVINO's defaults."""
    core = ov.Core()
    model = core.read_model(locate("arbitrary_transform.onnx"))
    content, vector = model.inputs
    model.reshape({content: [1, side, side, 3], vector: [1, 1, 1, 100]})
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()


def measure_lite(engines: dict[str, OpenVinoEngine], side: int) -> list[dict[str, Any]]:
    """Return a row for each transformer at that size."""
    content = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    floats = content.astype(np.float32) / 255
    vector = engines["f32"].predict(content[:, :256, :256])
    contenders = {"as shipped, int8": partial(onnx_transform(side).infer, [floats, vector.reshape(1, 1, 1, -1)])}
    for precision, engine in engines.items():
        contenders[f"ours, {precision}"] = partial(engine.transform, content, vector)
        contenders[f"matrix, {precision}"] = matrix_product(MATRIX, precision)
    found = {name: summary(seconds) for name, seconds in interleaved(contenders, LITE_ROUNDS[side]).items()}
    rows = []
    for name in ("as shipped, int8", *(f"ours, {precision}" for precision in engines)):
        row = {"transformer": name, "side": side, **found[name]}
        row["vs as shipped"] = row["median_ms"] / found["as shipped, int8"]["median_ms"]
        product = found.get(name.replace("ours", "matrix")) if name.startswith("ours") else None
        flop_per_ms = product and 2 * np.prod(MATRIX) / product["median_ms"]
        row["vs arithmetic limit"] = (
            row["median_ms"] * flop_per_ms / (LITE_FLOP_PER_PIXEL * side**2) if flop_per_ms else ""
        )
        rows.append(row)
    return rows


def measure_lite_sizes() -> None:
    """Print a table and write results/engine.json."""
    best = OpenVinoEngine(lite()).precision
    engines = {precision: OpenVinoEngine(lite(), precision) for precision in dict.fromkeys((best, "f32"))}
    rows = [row for side in LITE_ROUNDS for row in measure_lite(engines, side)]
    table(rows)
    write("engine", {"job": "transform alone, all cores, one stream", "rows": rows})


def picture(path: Path) -> np.ndarray:
    """Return a picture file as float32 [1,256,256,3] in 0..1."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32)[np.newaxis] / 255


def measure_full(saved_model: Path, converted: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return a row for each contender, and the rates and ratios that follow."""
    import tensorflow as tf

    content, style = picture(CONTENT), picture(STYLE)
    model = tf.saved_model.load(str(saved_model))
    tensors = tf.constant(content), tf.constant(style)

    def published_call() -> np.ndarray:
        return model(*tensors)[0].numpy()

    contenders: dict[str, Any] = {"savedmodel": published_call}
    for precision in ("f32", "bf16") if computes_bf16(ov.Core()) else ("f32",):
        engine = OpenVinoEngine(full(converted), precision)
        vector = engine.predict(style)
        contenders[precision] = lambda engine=engine: engine.transform(content, engine.predict(style))
        contenders[f"{precision} cached"] = partial(engine.transform, content, vector)
        for shape in MATRICES:
            contenders[f"matrix {precision} {'x'.join(map(str, shape))}"] = matrix_product(shape, precision)
    found = {name: summary(seconds) for name, seconds in interleaved(contenders, FULL_ROUNDS).items()}
    median = {name: row["median_ms"] for name, row in found.items()}
    figures: dict[str, float] = {}
    for precision in [name for name in ("f32", "bf16") if name in median]:
        rate = max(
            2 * np.prod(shape) / 1e6 / median[f"matrix {precision} {'x'.join(map(str, shape))}"] for shape in MATRICES
        )
        figures[f"{precision} matrix rate, GFLOP/s"] = float(rate)
        figures[f"{precision} arithmetic limit, ms"] = float(FULL_GFLOP / rate * 1e3)
        figures[f"{precision} / arithmetic limit"] = float(median[precision] * rate / FULL_GFLOP / 1e3)
        cached = median[f"{precision} cached"] * rate / TRANSFORM_GFLOP / 1e3
        figures[f"{precision} cached / arithmetic limit of the transform"] = float(cached)
        figures[f"{precision} / savedmodel"] = median[precision] / median["savedmodel"]
        figures[f"{precision} cached / {precision}"] = median[f"{precision} cached"] / median[precision]
    return [{"contender": name, **row} for name, row in found.items()], figures


def image(pixels: np.ndarray) -> Image.Image:
    """Return pixels [1,H,W,3] in 0..1 as a picture of 8 bits."""
    return Image.fromarray(np.rint(pixels[0] * 255).astype(np.uint8))


def int8_engines(network: Network, calibration: "list[Pair]", scratch: Path) -> dict[str, OpenVinoEngine]:
    """Return engines by name: f32, bf16, and int8 with each number of blocks in floating point."""
    import nncf
    from stylewire_server.preparation import quantize

    nncf.set_log_level(logging.ERROR)
    made = {precision: OpenVinoEngine(network, precision) for precision in ("f32", "bf16")}
    inputs = [[pair.content, made["f32"].predict(pair.style)] for pair in calibration]
    for blocks in quantize.FLOAT_BLOCKS:
        model = quantize.quantized(nncf, network.transformer(ov.Core()), inputs, blocks)
        path = scratch / f"int8_{blocks}.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        network = replace(network, int8=lambda core, path=path: core.read_model(path))
        made[f"int8, {blocks} float blocks"] = OpenVinoEngine(network, "int8")
    # As on a CPU that has no bf16.
    made["int8, 0 float blocks, rest f32"] = OpenVinoEngine(
        replace(network, bf16=frozenset(), int8=lambda core: core.read_model(scratch / "int8_0.xml")), "int8"
    )
    return made


def measure_int8(contenders: dict[str, OpenVinoEngine], held_out: "list[Pair]") -> list[dict[str, Any]]:
    """Return a row for each engine."""
    from stylewire_server.preparation.fetch import psnr

    from optimizer_baseline import score

    pair = held_out[0]
    vector = contenders["f32"].predict(pair.style)
    calls = {name: partial(engine.transform, pair.content, vector) for name, engine in contenders.items()}
    found = {name: summary(seconds) for name, seconds in interleaved(calls, FULL_ROUNDS).items()}
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


def measure_full_edition(edition: FullEdition) -> None:
    """Print two tables and write results/full_model.json."""
    rows, figures = measure_full(edition.saved_model, edition.converted)
    table(rows)
    print()
    table([{"figure": name, "value": value} for name, value in figures.items()])
    write("full_model", {"job": f"{SIDE}x{SIDE}, {edition.weights} weights", "rows": rows, "figures": figures})


def measure_quantized(edition: FullEdition, pictures: Path, scratch: Path) -> None:
    """Print a table and write results/int8.json."""
    from stylewire_server.preparation.quantize import read_pairs

    calibration, held_out = read_pairs(pictures)
    rows = measure_int8(int8_engines(full(edition.converted), calibration, scratch), held_out)
    table(rows)
    write("int8", {"job": f"{SIDE}x{SIDE}, {edition.weights} weights, {len(held_out)} held-out pairs", "rows": rows})


def main() -> None:
    """Run one part, or lite and full."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--only", choices=("lite", "full", "int8"), help="one part of the three (default: lite and full)"
    )
    arguments.add_argument(
        "--pictures",
        type=Path,
        default=ROOT / "examples",
        metavar="FOLDER",
        help="has the folders content and style (default: examples)",
    )
    add_saved_model(arguments)
    given = arguments.parse_args()
    if given.only in (None, "lite"):
        measure_lite_sizes()
    if given.only == "lite":
        return
    with tempfile.TemporaryDirectory() as scratch:
        edition = full_edition(given.saved_model, Path(scratch))
        if edition is None:
            return
        if given.only == "int8":
            measure_quantized(edition, given.pictures, Path(scratch))
        else:
            print()
            measure_full_edition(edition)
