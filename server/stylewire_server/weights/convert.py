"""A SavedModel to the files that are served: IR for OpenVINO, frozen graphs for TensorFlow. Needs tensorflow."""

from pathlib import Path

import openvino as ov

from .full import FROZEN, PREDICTOR, STYLE_DIMENSION, TRANSFORMER
from .network import STYLE_SIDE, WeightsError
from .savedmodel import SavedModel
from .transformer import build


def convert(model: SavedModel, folder: Path) -> None:
    """Writes the two halves of model into folder, each in both forms, in full precision.

    The predictor is converted as it is. The transformer is built anew from its weights, which is a tenth faster than
    its converted graph; whoever calls this holds the result against the SavedModel.

    Raises:
        WeightsError: It is another network.
    """
    parts = model.split()
    (folder / FROZEN.predictor).write_bytes(parts.predictor)
    (folder / FROZEN.transformer).write_bytes(parts.transformer)
    predictor = ov.convert_model(folder / FROZEN.predictor)
    predictor.reshape([1, STYLE_SIDE, STYLE_SIDE, 3])
    try:
        transformer = build(parts.weights)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"the SavedModel's transformer has no layer {error}: it is another model") from None
    found = transformer.input(1).get_partial_shape()[1].get_length()
    if found != STYLE_DIMENSION:
        raise WeightsError(f"the SavedModel's style vector has {found} values, expected {STYLE_DIMENSION}")
    ov.save_model(predictor, folder / PREDICTOR, compress_to_fp16=False)
    ov.save_model(transformer, folder / TRANSFORMER, compress_to_fp16=False)
