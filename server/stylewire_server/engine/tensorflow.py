"""The reference engine: TensorFlow, in float32, on whatever device TensorFlow sees."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from ..models.full import STYLE_DIMENSION
from ..models.network import CONTENT, PICTURE, STYLE, VECTOR, Frozen
from ..models.transformer import STYLE_LAYERS
from .base import Checkpoint, pad_to_multiple, with_tuning

_TUNING = "tuning"

_MAX_PIXELS = 4_194_304


class TensorFlowEngine:
    """The published graph in two halves: predictor and transformer.

    Args:
        frozen: The files of the two halves.
        threads: Cores to compute on; 0 for all. TensorFlow uses the number of the first engine of a process.
        max_pixels: Pixels of the largest picture. Every picture goes through the graph at once.
    """

    name = "tensorflow"
    precision = "f32"
    style_dimension = STYLE_DIMENSION

    def __init__(self, frozen: Frozen, threads: int = 0, max_pixels: int = _MAX_PIXELS) -> None:
        self.one_pass_pixels = self.max_pixels = max_pixels
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self._predict = _function(_graph_def(frozen.predictor), [STYLE], VECTOR)
        self._transform, self.norm_parameters = _tunable(_graph_def(frozen.transformer))

    def predict(self, style: np.ndarray) -> np.ndarray:
        """Predict as `Engine.predict` says."""
        vectors = self._predict(tf.constant(_levels(style))).numpy()
        return vectors.reshape(len(style), -1)

    def transform(self, content: np.ndarray, vector: np.ndarray, checkpoint: Checkpoint = lambda: None) -> np.ndarray:
        """Transform as `Engine.transform` says; every picture goes through the graph at once."""
        height, width = content.shape[1:3]
        pixels = tf.constant(_levels(pad_to_multiple(content)))
        style = with_tuning(vector, self.style_dimension + self.norm_parameters)
        parts = np.split(style[:, np.newaxis, np.newaxis, :], [self.style_dimension], axis=-1)
        picture = self._transform(pixels, *(tf.constant(part) for part in parts)).numpy()
        picture = picture[:, :height, :width]
        return np.rint(picture * 255.0).astype(np.uint8) if content.dtype == np.uint8 else picture


def _levels(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255.0) if pixels.dtype == np.uint8 else pixels


def _graph_def(path: Path) -> GraphDef:
    return GraphDef.FromString(path.read_bytes())


def _tunable(graph_def: GraphDef) -> tuple[Callable[..., tf.Tensor], int]:
    """Return the transformer as a function of content, style vector [N,1,1,D] and tuning [N,1,1,P], and the number P.

    The tuning's numbers are in the order of `transformer.style_layers`.
    """
    suffix = "/BiasAdd"
    layers = sorted(node.name for node in graph_def.node if STYLE_LAYERS in node.name and node.name.endswith(suffix))
    sizes: list[int] = []

    def add_tuning() -> None:
        vector = tf.compat.v1.placeholder(tf.float32, [None, 1, 1, None], name=VECTOR)
        tuning = tf.compat.v1.placeholder(tf.float32, [None, 1, 1, None], name=_TUNING)
        # A first copy of the graph computes the affine maps; the second copy takes their tuned values.
        values = tf.graph_util.import_graph_def(graph_def, {VECTOR: vector}, [f"{each}:0" for each in layers], "maps")
        sizes.extend(value.shape[-1] for value in values)
        tuned = (value + part for value, part in zip(values, tf.split(tuning, sizes, axis=-1), strict=True))
        tf.graph_util.import_graph_def(graph_def, dict(zip(layers, tuned, strict=True)), name="tuned")

    whole = tf.compat.v1.wrap_function(add_tuning, [])
    graph = whole.graph
    feeds = [graph.get_tensor_by_name(f"{name}:0") for name in (f"tuned/{CONTENT}", VECTOR, _TUNING)]
    return whole.prune(feeds, graph.get_tensor_by_name(f"tuned/{PICTURE}:0")), sum(sizes)


def _function(graph_def: GraphDef, feeds: list[str], fetch: str) -> Callable[..., tf.Tensor]:
    """Return a frozen graph as a function of the tensors named by `feeds`."""
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
    graph = whole.graph
    return whole.prune(
        [graph.get_tensor_by_name(f"{name}:0") for name in feeds], graph.get_tensor_by_name(f"{fetch}:0")
    )
