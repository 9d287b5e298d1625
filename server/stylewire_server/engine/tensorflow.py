"""The reference engine: TensorFlow, in float32, on whatever device TensorFlow sees."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from ..models.full import STYLE_DIMENSION
from ..models.network import CONTENT, PICTURE, STYLE, VECTOR, Frozen
from .base import pad_to_multiple


class TensorFlowEngine:
    """The published graph itself, cut in two.

    Args:
        frozen: The two halves' files.
        threads: Cores to compute on; 0 for all. Counts in the first engine of a process.
    """

    name = "tensorflow"
    precision = "f32"
    style_dimension = STYLE_DIMENSION

    def __init__(self, frozen: Frozen, threads: int = 0) -> None:
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self._predict = _function(frozen.predictor, [STYLE], VECTOR)
        self._transform = _function(frozen.transformer, [CONTENT, VECTOR], PICTURE)

    def predict(self, style: np.ndarray) -> np.ndarray:
        """See `Engine.predict`."""
        vectors = self._predict(tf.constant(_levels(style))).numpy()
        return vectors.reshape(len(style), -1)

    def transform(self, content: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """See `Engine.transform`."""
        height, width = content.shape[1:3]
        pixels = tf.constant(_levels(pad_to_multiple(content)))
        picture = self._transform(pixels, tf.constant(vector[:, np.newaxis, np.newaxis, :])).numpy()
        picture = picture[:, :height, :width]
        return np.rint(picture * 255.0).astype(np.uint8) if content.dtype == np.uint8 else picture


def _levels(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255.0) if pixels.dtype == np.uint8 else pixels


def _function(path: Path, feeds: list[str], fetch: str) -> Callable[..., tf.Tensor]:
    """A frozen GraphDef file as a function of the tensors named by feeds."""
    graph_def = GraphDef.FromString(path.read_bytes())
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
    graph = whole.graph
    return whole.prune(
        [graph.get_tensor_by_name(f"{name}:0") for name in feeds], graph.get_tensor_by_name(f"{fetch}:0")
    )
