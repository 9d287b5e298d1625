"""The parts of the published SavedModel. This module needs tensorflow; only fetching imports it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ..models.full import FROZEN, PREDICTOR, STYLE_DIMENSION, TRANSFORMER
from ..models.network import CONTENT, PICTURE, STYLE, STYLE_SIDE, VECTOR, WeightsError
from ..models.transformer import build, norm_parameters

_SCOPE = "StatefulPartitionedCall/"


@dataclass(frozen=True)
class Parts:
    """The parts of a SavedModel.

    Args:
        predictor: Frozen GraphDef of style -> vector.
        transformer: Frozen GraphDef of (content, vector) -> picture.
        weights: Weights of the transformer, as `transformer.build` takes them.
    """

    predictor: bytes
    transformer: bytes
    weights: dict[str, np.ndarray]


class SavedModel:
    """The published model in TensorFlow: the reference for all comparisons.

    Args:
        folder: Folder with saved_model.pb and variables/.

    Raises:
        WeightsError: TensorFlow cannot load it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._model = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise WeightsError(f"{folder} is not a SavedModel that TensorFlow can load: {reason}") from None

    def __call__(self, content: np.ndarray, style: np.ndarray) -> np.ndarray:
        """Return the pictures [N,H",W",3] for contents [N,H,W,3] and styles [N,H',W',3], all float32 in 0..1.

        H" and W" are multiples of 4.
        """
        return self._model(tf.constant(content), tf.constant(style))[0].numpy()

    def split(self) -> Parts:
        """Split the graph at the style vector.

        Raises:
            WeightsError: The SavedModel is another network.
        """
        signature = self._model.signatures.get("serving_default")
        if signature is None:
            raise WeightsError("the SavedModel has no signature serving_default: it is another model")
        frozen = convert_variables_to_constants_v2(signature, aggressive_inlining=True).graph.as_graph_def()
        missing = {CONTENT, STYLE, VECTOR, PICTURE} - {node.name for node in frozen.node}
        if missing:
            raise WeightsError(f"the SavedModel's graph has no {min(missing)}: it is another model")
        transformer = _extract(_cut(frozen), PICTURE)
        return Parts(
            predictor=_extract(frozen, VECTOR).SerializeToString(),
            transformer=transformer.SerializeToString(),
            weights=transformer_weights(transformer),
        )


def _extract(graph: GraphDef, node: str) -> GraphDef:
    """Return the part of the graph that the node needs."""
    return tf.compat.v1.graph_util.extract_sub_graph(graph, [node])


def _cut(graph: GraphDef) -> GraphDef:
    """Return the graph with its style vector as an input."""
    cut = GraphDef(versions=graph.versions, library=graph.library)
    for node in graph.node:
        if node.name == VECTOR:
            vector = cut.node.add(name=VECTOR, op="Placeholder")
            vector.attr["dtype"].type = tf.float32.as_datatype_enum
            vector.attr["shape"].shape.CopyFrom(tf.TensorShape([None, 1, 1, None]).as_proto())
        else:
            cut.node.append(node)
    return cut


def transformer_weights(graph: GraphDef | bytes) -> dict[str, np.ndarray]:
    """Return a frozen transformer's weights as `transformer.build` takes them, batch norms folded into them.

    Kernels [out,in,kh,kw] are `…/weights` and biases [out] `…/Conv2D_bias`.
    """
    if isinstance(graph, bytes):
        graph = GraphDef.FromString(graph)
    nodes = {node.name: node for node in graph.node}

    def constant(name: str) -> np.ndarray:
        node = nodes[name.partition(":")[0]]
        while node.op == "Identity":
            node = nodes[node.input[0].partition(":")[0]]
        return tf.make_ndarray(node.attr["value"].tensor)

    weights = {}
    for node in graph.node:
        path = node.name.removeprefix(_SCOPE)
        if node.op == "Conv2D":
            weights[path.removesuffix("/Conv2D") + "/weights"] = constant(node.input[1]).transpose(3, 2, 0, 1)
        elif node.op == "BiasAdd":
            weights[path.removesuffix("/BiasAdd") + "/Conv2D_bias"] = constant(node.input[1])
    for node in graph.node:
        if node.op == "FusedBatchNormV3":
            layer = node.name.removeprefix(_SCOPE).removesuffix("/BatchNorm/FusedBatchNormV3")
            gamma, beta, mean, variance = (constant(name).astype(np.float64) for name in node.input[1:5])
            scale = gamma / np.sqrt(variance + node.attr["epsilon"].f)
            kernel = weights[f"{layer}/weights"] * scale[:, np.newaxis, np.newaxis, np.newaxis]
            weights[f"{layer}/weights"] = kernel.astype(np.float32)
            weights[f"{layer}/Conv2D_bias"] = (beta - mean * scale).astype(np.float32)
    return weights


def convert(model: SavedModel, folder: Path) -> None:
    """Write predictor and transformer into a folder in full precision, each for TensorFlow and for OpenVINO.

    The predictor is converted as it is. The transformer is built from its weights, which makes it a tenth faster than
    its converted graph. The caller compares the result with the SavedModel.

    Raises:
        WeightsError: The SavedModel is another network.
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
    found = transformer.input(1).get_partial_shape()[1].get_length() - norm_parameters(parts.weights)
    if found != STYLE_DIMENSION:
        raise WeightsError(f"the SavedModel's style vector has {found} values, expected {STYLE_DIMENSION}")
    ov.save_model(predictor, folder / PREDICTOR, compress_to_fp16=False)
    ov.save_model(transformer, folder / TRANSFORMER, compress_to_fp16=False)
