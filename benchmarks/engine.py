"""The lite edition's transformer alone: ours against the ONNX graph as it comes, and against the machine's own rate.

The arithmetic limit is the graph's multiplications and additions divided by the rate at which this machine multiplies
1024x1024 matrices in the same precision, measured in the same run through the same engine.
"""

from functools import partial
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite, locate

from .common import interleaved, summary, table, write

SIDES = (256, 512, 1024)
ROUNDS = {256: 120, 512: 40, 1024: 12}

FLOP_PER_PIXEL = 1.64e9 / 256**2
"""Of the transformer's convolutions."""

MATRIX = 1024


def matrix_product(precision: str) -> ov.InferRequest:
    """A product of two 1024x1024 matrices, one of them constant, as a network's weights are."""
    left = op.parameter([MATRIX, MATRIX], np.float32)
    right = op.constant(np.random.default_rng(0).normal(size=(MATRIX, MATRIX)).astype(np.float32))
    model = ov.Model([op.matmul(left, right, False, False)], [left])
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()


def as_it_comes(side: int) -> ov.InferRequest:
    """The ONNX transformer for that size, compiled with OpenVINO's defaults."""
    core = ov.Core()
    model = core.read_model(locate("arbitrary_transform.onnx"))
    content, vector = model.inputs
    model.reshape({content: [1, side, side, 3], vector: [1, 1, 1, 100]})
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()


def measure(engines: dict[str, OpenVinoEngine], side: int) -> list[dict[str, Any]]:
    """One row for each transformer at that size."""
    rng = np.random.default_rng(0)
    content = rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    floats = content.astype(np.float32) / 255
    vector = engines["f32"].predict(content[:, :256, :256])
    matrix = rng.random((MATRIX, MATRIX), np.float32)
    contenders = {"as it comes, int8": partial(as_it_comes(side).infer, [floats, vector.reshape(1, 1, 1, -1)])}
    for precision, engine in engines.items():
        contenders[f"ours, {precision}"] = partial(engine.transform, content, vector)
        contenders[f"matrix, {precision}"] = partial(matrix_product(precision).infer, [matrix])
    found = {name: summary(seconds) for name, seconds in interleaved(contenders, ROUNDS[side]).items()}
    rows = []
    for name in ("as it comes, int8", *(f"ours, {precision}" for precision in engines)):
        row = {"transformer": name, "side": side, **found[name]}
        row["vs as it comes"] = row["median_ms"] / found["as it comes, int8"]["median_ms"]
        product = found.get(name.replace("ours", "matrix")) if name.startswith("ours") else None
        flop_per_ms = product and 2 * MATRIX**3 / product["median_ms"]
        row["vs arithmetic limit"] = row["median_ms"] * flop_per_ms / (FLOP_PER_PIXEL * side**2) if flop_per_ms else ""
        rows.append(row)
    return rows


def main() -> None:
    """Prints a table and writes results/engine.json."""
    best = OpenVinoEngine(lite()).precision
    engines = {precision: OpenVinoEngine(lite(), precision) for precision in dict.fromkeys((best, "f32"))}
    rows = [row for side in SIDES for row in measure(engines, side)]
    table(rows)
    write("engine", {"job": "transform alone, all cores, one stream", "rows": rows})


if __name__ == "__main__":
    main()
