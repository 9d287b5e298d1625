"""The full model at 256x256: ours in f32 and bf16 against TensorFlow's own call, and against the machine's arithmetic.

    python -m benchmarks full-model [SAVED_MODEL]

SAVED_MODEL is a folder with the published files; without it a model with the real graph and random weights is made,
which costs the same and whose pictures mean nothing. The contenders run in turn, so that a drift of the machine meets
them all alike. The arithmetic limit is the pass's 62.9 GFLOP divided by the rate at which this machine multiplies
large matrices in bf16, measured in the same run: the best of several shapes.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import tensorflow as tf
from openvino import opset13 as op
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine, computes_bf16
from stylewire_server.models.full import full

from .common import CONTENT, STYLE, full_edition, interleaved, summary, table, write

SIDE = 256
ROUNDS = 30

GFLOP, TRANSFORM_GFLOP = 62.9, 56.6
"""Of a whole pass and of its transform, counted on the published graph: 2 for each product and sum."""

MATRICES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 1024))
"""Rows, inner length, columns."""

TARGETS = {
    "f32 / savedmodel": 0.85,
    "bf16 / savedmodel": 0.45,
    "bf16 / arithmetic limit": 1.15,
    "bf16 cached / bf16": 0.92,
}


def matrix_product(rows: int, inner: int, columns: int, precision: str) -> partial:
    """A product with a constant right factor, as a network's weights are."""
    rng = np.random.default_rng(0)
    left = op.parameter([rows, inner], np.float32)
    right = op.constant(rng.normal(size=(inner, columns)).astype(np.float32))
    model = ov.Model([op.matmul(left, right, False, False)], [left])
    request = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()
    return partial(request.infer, [rng.random((rows, inner), np.float32)], share_inputs=True)


def picture(path: Path) -> np.ndarray:
    """float32 [1,256,256,3] in 0..1."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32)[np.newaxis] / 255


def measure(saved_model: Path, converted: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each contender, and the rates and ratios that follow."""
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
            contenders[f"matrix {precision} {'x'.join(map(str, shape))}"] = matrix_product(*shape, precision)
    found = {name: summary(seconds) for name, seconds in interleaved(contenders, ROUNDS).items()}
    median = {name: row["median_ms"] for name, row in found.items()}
    figures: dict[str, float] = {}
    for precision in [name for name in ("f32", "bf16") if name in median]:
        rate = max(
            2 * np.prod(shape) / 1e6 / median[f"matrix {precision} {'x'.join(map(str, shape))}"] for shape in MATRICES
        )
        figures[f"{precision} matrix rate, GFLOP/s"] = float(rate)
        figures[f"{precision} arithmetic limit, ms"] = float(GFLOP / rate * 1e3)
        figures[f"{precision} / arithmetic limit"] = float(median[precision] * rate / GFLOP / 1e3)
        cached = median[f"{precision} cached"] * rate / TRANSFORM_GFLOP / 1e3
        figures[f"{precision} cached / arithmetic limit of the transform"] = float(cached)
        figures[f"{precision} / savedmodel"] = median[precision] / median["savedmodel"]
        figures[f"{precision} cached / {precision}"] = median[f"{precision} cached"] / median[precision]
    return [{"contender": name, **row} for name, row in found.items()], figures


def main() -> None:
    """Prints two tables and writes results/full_model.json."""
    with tempfile.TemporaryDirectory() as scratch:
        found = full_edition(sys.argv[1:], Path(scratch))
        if found is None:
            return
        rows, figures = measure(found.saved_model, found.converted)
    table(rows)
    print()
    table([{"figure": name, "value": value, "target": TARGETS.get(name, "")} for name, value in figures.items()])
    write("full_model", {"job": f"{SIDE}x{SIDE}, {found.weights} weights", "rows": rows, "figures": figures})


if __name__ == "__main__":
    main()
