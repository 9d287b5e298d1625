"""The full model's transformer in int8: quantized after training, compared with f32, and kept only if it is close.

NNCF measures the ranges of activations over calibration pairs and rounds weights and activations to 8 bits. Only the
convolutions of the residual blocks are quantized; they are 85 % of the arithmetic. The other parts would lose accuracy
in int8, and take little time in floating point: sums of blocks, instance norms, contraction and expansion.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from ..engine.base import with_tuning
from ..engine.openvino import OpenVinoEngine
from ..errors import InvalidInput
from ..imaging.codec import SUFFIXES, load
from ..imaging.fit import Fit
from ..imaging.limits import ImageLimits
from ..models.files import staging, sync
from ..models.full import INT8_DB, TRANSFORMER_INT8, Manifest, as_network, read_manifest
from ..models.network import WeightsError, require_extra
from .download import Progress
from .fetch import psnr

LEAST = 3
"""Minimum number of pictures of each kind: one for the check and two for the calibration."""

_HELD_OUT_OF = 3
"""One of this many pictures is held out for the check; the others are for the calibration."""

_CALIBRATION_PAIRS, _CHECK_PAIRS = 120, 24
"""Maximum number of pairs for the calibration and for the check."""

FLOAT_BLOCKS = (0, 3, 6, 10)
"""Numbers of first residual blocks that stay in floating point, in the order in which they are tried.

The rounding errors of a block pass through all norms after it. So the first blocks lose most of the accuracy.
"""

_BLOCK_CONVOLUTIONS = 2
"""Convolutions of one residual block."""


@dataclass(frozen=True)
class Pair:
    """A content picture and a style picture, each [1,256,256,3], float32 in 0..1."""

    content: np.ndarray
    style: np.ndarray


@dataclass(frozen=True)
class Closeness:
    """PSNR of int8 pictures against f32 in dB, over pairs that were not used for calibration.

    Args:
        minimum_db: PSNR of the worst pair.
        median_db: Median over all pairs.
        pairs: Number of pairs.
        float_blocks: Number of residual blocks that stay in floating point.
    """

    minimum_db: float
    median_db: float
    pairs: int
    float_blocks: int

    def __str__(self) -> str:
        return (
            f"is at {self.minimum_db:.1f} dB PSNR to f32 at least, {self.median_db:.1f} dB in the median, over "
            f"{self.pairs} held-out pairs, with {self.float_blocks} residual blocks in floating point"
        )


def quantize(
    folder: Path,
    pictures: Path,
    *,
    bound_db: float = INT8_DB,
    progress: Progress = lambda stage, share: None,
) -> Closeness:
    """Add an int8 transformer to a converted folder, if it is close enough to f32.

    The numbers of `FLOAT_BLOCKS` are tried in turn, and the first result that meets the bound is kept. The compared
    pictures are those that this machine would serve, with the precision that each layer has there.

    Args:
        folder: The converted model.
        pictures: A folder with JPEG, PNG or WebP pictures in `content` and in `style`, at least 3 in each. Every third
            is held out, for the check alone.
        bound_db: PSNR against f32 that the worst held-out pair must reach.
        progress: Called with each stage and the share of it that is done.

    Raises:
        WeightsError: There is no converted model or too few pictures, NNCF is missing, or the bound is not met; the
            folder is then as it was.
    """
    calibration, held_out = read_pairs(pictures)
    with require_extra("quantizing", "int8"):
        # Imported here, because serving does not need it.
        import nncf
    # Checked first, before a folder is made beside it.
    read_manifest(folder)
    found: list[Closeness] = []
    with staging(folder.resolve().parent) as scratch:
        manifest = read_manifest(folder)
        network = as_network(folder, manifest)
        reference = OpenVinoEngine(network, "f32")
        inputs = [[pair.content, reference.predict(pair.style)] for pair in calibration]
        expected = [reference.transform(pair.content, reference.predict(pair.style)) for pair in held_out]
        path = scratch / TRANSFORMER_INT8
        for float_blocks in FLOAT_BLOCKS:
            progress("quantizing", 0.0)
            model = quantized(nncf, network.transformer(ov.Core()), inputs, float_blocks)
            ov.save_model(model, path, compress_to_fp16=False)
            progress("checking", 0.0)
            engine = OpenVinoEngine(replace(network, int8=lambda core: core.read_model(path)), "int8")
            made = (engine.transform(pair.content, engine.predict(pair.style)) for pair in held_out)
            levels = [psnr(one, other) for one, other in zip(made, expected, strict=True)]
            del engine, made
            found.append(Closeness(min(levels), statistics.median(levels), len(levels), float_blocks))
            if found[-1].minimum_db >= bound_db:
                _publish(scratch, folder, manifest, found[-1])
                progress("done", 1.0)
                return found[-1]
    best = max(found, key=lambda closeness: closeness.minimum_db)
    raise WeightsError(f"int8 {best}; the bound is {bound_db:.1f} dB, so nothing was written")


def read_pairs(pictures: Path) -> tuple[list[Pair], list[Pair]]:
    """Return pairs for the calibration, and held-out pairs that have no picture in common with them.

    Raises:
        WeightsError: There are too few pictures, or a picture cannot be read.
    """
    contents = [_read(path, Fit.CROP_256) for path in _list(pictures / "content")]
    styles = [_read(path, Fit.SQUASH_256) for path in _list(pictures / "style")]

    def pairs(of: Sequence[bool], limit: int) -> list[Pair]:
        chosen = [
            [picture for index, picture in enumerate(kind) if (index % _HELD_OUT_OF == 0) in of]
            for kind in (contents, styles)
        ]
        every = [Pair(content, style) for content, style in product(*chosen)]
        order = np.random.default_rng(0).permutation(len(every))[:limit]
        return [every[index] for index in sorted(order)]

    return pairs([False], _CALIBRATION_PAIRS), pairs([True], _CHECK_PAIRS)


def _list(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise WeightsError(f"cannot read the pictures in {folder}: {error.strerror}") from None
    if len(paths) < LEAST:
        raise WeightsError(f"{folder} holds {len(paths)} JPEG, PNG or WebP pictures; at least {LEAST} are needed")
    return paths


def _read(path: Path, fit: Fit) -> np.ndarray:
    try:
        pixels = load(path.read_bytes(), fit, ImageLimits(), path.name).pixels
    except (InvalidInput, OSError) as error:
        raise WeightsError(f"cannot read {path}: {error}") from None
    return pixels.astype(np.float32)[np.newaxis] / np.float32(255)


def quantized(nncf: Any, model: ov.Model, inputs: list[list[np.ndarray]], float_blocks: int) -> ov.Model:
    """Return the transformer with the convolutions of its residual blocks in int8, except the first `float_blocks`."""
    chosen = set(residual_convolutions(model)[_BLOCK_CONVOLUTIONS * float_blocks :])
    length = model.inputs[1].get_partial_shape()[1].get_length()
    inputs = [[content, with_tuning(style, length)] for content, style in inputs]
    others = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() not in {"Constant", "Result"}]
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=[name for name in others if name not in chosen], validate=False),
    )


def residual_convolutions(model: ov.Model) -> list[str]:
    """Return the names of the residual blocks' convolutions, in order: 3x3 kernels with as many outputs as inputs."""
    names = []
    for op in model.get_ordered_ops():
        if op.get_type_name() == "Convolution":
            outputs, inputs, *sides = op.input_value(1).get_partial_shape().get_min_shape()
            if outputs == inputs and sides == [3, 3]:
                names.append(op.get_friendly_name())
    return names


def _publish(scratch: Path, folder: Path, manifest: Manifest, closeness: Closeness) -> None:
    """Move the graph from the scratch folder into a converted folder. A reader never sees an incomplete graph."""
    files = [TRANSFORMER_INT8, str(Path(TRANSFORMER_INT8).with_suffix(".bin"))]
    without = {name: size for name, size in manifest.sizes.items() if name not in files}
    if manifest.int8_db is not None:
        replace(manifest, sizes=without, int8_db=None).write(folder)
    sizes = {name: (scratch / name).stat().st_size for name in files}
    for name in files:
        sync(scratch / name)
        (scratch / name).replace(folder / name)
    replace(manifest, sizes=without | sizes, int8_db=closeness.minimum_db).write(folder)
