"""Transformation of large pictures in tiles, with the norm statistics of the whole picture.

An instance norm needs the mean and the variance of every channel over the whole picture. Tiles with statistics of
their own show seams. So the transformer is cut into three stages:

1. The contraction has no such norm. It runs on tiles of the content and fills a map of a sixteenth of the positions.
2. The residual blocks run on that map at once, so their norms are exact.
3. The expanding layers run on tiles of the map, once for each of their three norms. Each sweep sums up the statistics
   of the next norm over all tiles; the norms before it already use theirs. The values in front of the last norm are
   kept. Once its statistics are known, they become the picture.

Every tile has a halo as wide as the field of its convolutions, so no value depends on the borders of tiles.
"""

import threading
from collections.abc import Callable
from itertools import product

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ..models.transformer import EPSILON
from .base import MULTIPLE
from .spans import spans

TILE_BYTES = 150_000_000
"""Maximum bytes of memory for one tile. For the lite edition in f32 its side is then 1044 px.

Tiles of half the side take a fifth more time for their halos.
"""

CONTENT_HALO = 8
"""Halo of a tile of the content in pixels. The contraction's field reaches 4 + 1 + 2 pixels to each side."""

MAP_HALO = 3
"""Halo of a tile of the map in positions. The field of the expanding layers reaches 1 + 1/2 + 4/4 to each side."""

NORMS = 3
"""Number of norms in the expanding layers. They are the last norms of the transformer."""

U8 = np.dtype(np.uint8)


class Pool:
    """The mean and variance of every channel, pooled over tiles in double precision."""

    def __init__(self) -> None:
        self._moments: list[tuple[int, np.ndarray, np.ndarray]] = []

    def add(self, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
        """Add the mean and variance [C,P] of a tile. Each channel has P parts of `count` values each."""
        mean, variance = mean.astype(np.float64), variance.astype(np.float64)
        self._moments.append((count, mean.mean(1), (variance + np.square(mean)).mean(1)))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the reciprocal standard deviation, float32 [C] each."""
        counts, means, squares = zip(*self._moments, strict=True)
        mean = np.average(means, axis=0, weights=counts)
        variance = np.average(squares, axis=0, weights=counts) - np.square(mean)
        return mean.astype(np.float32), (1.0 / np.sqrt(variance + EPSILON)).astype(np.float32)


class TiledTransformer:
    """A transformer in three stages, with the statistics of the whole picture. It transforms one picture at a time.

    Args:
        core: Compiles the graphs, each when it is first needed.
        read: Reads the transformer: (content [N,H,W,3], style [N,L]) -> picture [N,H,W,3].
        config: OpenVINO's properties for the compiled graphs.
        bytes_in: Changes the first input of a graph from pixels in 0..1 to uint8.
        bytes_out: Changes the output of a graph to uint8.
        map_type: Number format of the map and of the values before the last norm.
        tile: Side of a tile in pixels, a multiple of 4.
    """

    def __init__(
        self,
        core: ov.Core,
        read: Callable[[ov.Core], ov.Model],
        config: dict[str, str],
        bytes_in: Callable[[ov.Model], ov.Model],
        bytes_out: Callable[[ov.Model], ov.Model],
        map_type: type,
        tile: int,
    ) -> None:
        self._core, self._read, self._config = core, read, config
        self._bytes_in, self._bytes_out = bytes_in, bytes_out
        self._map_type = np.dtype(map_type)
        self._tile = tile
        self._lock = threading.Lock()
        self._model: ov.Model | None = None
        self._graphs: dict[str, ov.CompiledModel] = {}

    def __call__(
        self, content: np.ndarray, style: np.ndarray, checkpoint: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """Transform content [1,H,W,3], uint8 or float32 in 0..1, H and W multiples of 4, by a style [1,L].

        `checkpoint` is called between tiles; what it raises ends the work.
        """
        with self._lock:
            try:
                return self._transform(content, style, checkpoint)
            finally:
                # A graph keeps its last output even after `release_memory`. Compiling again costs little compared
                # with a picture that needs tiles.
                self._graphs.clear()
                self._model = None

    def _transform(self, content: np.ndarray, style: np.ndarray, checkpoint: Callable[[], None]) -> np.ndarray:
        features = self._blocks(self._contract(content, checkpoint), style)
        tiles = list(product(*(spans(length, self._tile // MULTIPLE, MAP_HALO) for length in features.shape[2:])))
        statistics: list[np.ndarray] = []
        kept = []
        for norm in range(NORMS):
            pool = Pool()
            for down, right in tiles:
                checkpoint()
                tile = features[:, :, down.first : down.last, right.first : right.last]
                start, stop = np.array([down.inner, right.inner], np.int64).T
                given = [style, *statistics] if norm else []
                mean, variance, *values = self._run(f"norm{norm}", tile, start, stop, *given)
                pool.add(mean, variance, (down.stop - down.start) * (right.stop - right.start))
                kept += values
            statistics += pool.result()
        del features, tile
        picture = np.empty(content.shape, content.dtype)
        name = "picture_bytes" if content.dtype == U8 else "picture"
        for (down, right), parts in zip(tiles, kept, strict=True):
            checkpoint()
            rows = slice(down.start * MULTIPLE, down.stop * MULTIPLE)
            columns = slice(right.start * MULTIPLE, right.stop * MULTIPLE)
            (picture[:, rows, columns],) = self._run(name, parts, style, *statistics[-2:])
        return picture

    def _contract(self, content: np.ndarray, checkpoint: Callable[[], None]) -> np.ndarray:
        """Return the map [1,C,H/4,W/4] of a content."""
        height, width = content.shape[1:3]
        name = "contraction_bytes" if content.dtype == U8 else "contraction"
        features = None
        for down, right in product(*(spans(length, self._tile, CONTENT_HALO, MULTIPLE) for length in (height, width))):
            checkpoint()
            (tile,) = self._run(name, content[:, down.first : down.last, right.first : right.last])
            if features is None:
                shape = (1, tile.shape[1], height // MULTIPLE, width // MULTIPLE)
                features = np.empty(shape, self._map_type)
            (top, bottom), (left, end) = ((at // MULTIPLE for at in span.inner) for span in (down, right))
            features[
                :,
                :,
                down.start // MULTIPLE : down.stop // MULTIPLE,
                right.start // MULTIPLE : right.stop // MULTIPLE,
            ] = tile[:, :, top:bottom, left:end]
        assert features is not None
        return features

    def _blocks(self, features: np.ndarray, style: np.ndarray) -> np.ndarray:
        """Return the map after the residual blocks."""
        graph = self._graph("blocks")
        request = graph.create_infer_request()
        request.infer([features, style], share_inputs=True)
        # Release the memory inside the blocks before the copy: it is the peak of the whole picture.
        graph.release_memory()
        made = request.get_output_tensor(0).data.copy()
        del self._graphs["blocks"]
        return made

    def _run(self, name: str, *inputs: np.ndarray) -> list[np.ndarray]:
        request = self._graph(name).create_infer_request()
        request.infer([np.ascontiguousarray(value) for value in inputs], share_inputs=True)
        return [tensor.data.copy() for tensor in request.output_tensors]

    def _graph(self, name: str) -> ov.CompiledModel:
        """Return the compiled graph of a stage: contraction, blocks, norm0 to norm2, or picture; `_bytes` for uint8."""
        if name not in self._graphs:
            if self._model is None:
                self._model = self._read(self._core)
            model = self._model.clone()
            stage, _, kind = name.partition("_")
            if stage.startswith("norm"):
                model = _norm(model, int(stage[-1]), self._map_type)
            else:
                model = _STAGES[stage](model, self._map_type)
            if kind:
                model = self._bytes_in(model) if stage == "contraction" else self._bytes_out(model)
            self._graphs[name] = self._core.compile_model(model, "CPU", self._config)
        return self._graphs[name]


class _Cuts:
    """The outputs at which a transformer is cut, found by its norms."""

    def __init__(self, model: ov.Model) -> None:
        norms = [node for node in model.get_ordered_ops() if node.get_type_name() == "MVN"]
        self.norms = norms[-NORMS:]
        self.contracted = _before_convolution(norms[0])
        self.residual = _before_convolution(self.norms[0])


def _convolved(norm: ov.Node) -> ov.Output:
    """Return the output of the convolution before a norm."""
    source = norm.input_value(0)
    while source.get_node().get_type_name() == "Reshape":
        source = source.get_node().input_value(0)
    return source


def _before_convolution(norm: ov.Node) -> ov.Output:
    """Return the input of the padded convolution before a norm."""
    padded = _convolved(norm).get_node().input_value(0).get_node()
    if padded.get_type_name() != "Pad":
        raise ValueError(f"{padded.get_friendly_name()} is a {padded.get_type_name()}; a Pad was expected")
    return padded.input_value(0)


def _contraction(model: ov.Model, map_type: np.dtype) -> ov.Model:
    """Build the graph from content [1,H,W,3] to map [1,C,H/4,W/4]."""
    return ov.Model([_converted(_Cuts(model).contracted, map_type)], model.get_parameters()[:1], "contraction")


def _residual_blocks(model: ov.Model, map_type: np.dtype) -> ov.Model:
    """Build the graph from map and style to map."""
    cuts = _Cuts(model)
    features = _feed(cuts.contracted, map_type)
    return ov.Model([_converted(cuts.residual, map_type)], [features, *model.get_parameters()[1:]], "blocks")


def _norm(model: ov.Model, number: int, map_type: np.dtype) -> ov.Model:
    """Build the graph that measures a norm of the expanding layers, counted from 0, over a tile of the map.

    The inputs are a tile, and start [2] and stop [2] in its positions. All but the first norm also take the style, and
    a mean [C] and a reciprocal deviation [C] for each norm before. The outputs are the mean [C,P] and variance [C,P] of
    the norm's input between start and stop; P is the number of phases of a channel. The last norm has its input as a
    third output.
    """
    cuts = _Cuts(model)
    features = _feed(cuts.residual, map_type)
    start, stop = (op.parameter([2], np.int64) for _ in range(2))
    statistics = [parameter for norm in cuts.norms[:number] for parameter in _fix(norm)]
    values = _convolved(cuts.norms[number])
    axes = op.constant(np.array([2, 3]))
    scale = op.divide(*(op.gather(op.shape_of(each), axes, op.constant(0)) for each in (values, features)))
    inner = op.slice(values, op.multiply(start, scale), op.multiply(stop, scale), op.constant(np.array([1, 1])), axes)
    mean = op.reduce_mean(inner, axes, keep_dims=True)
    difference = op.subtract(inner, mean)
    variance = op.reduce_mean(op.multiply(difference, difference), axes, keep_dims=True)
    channels = cuts.norms[number].get_output_partial_shape(0)[1].get_length()
    by_channel = op.constant(np.array([channels, -1]))
    outputs = [op.reshape(each, by_channel, False).output(0) for each in (mean, variance)]
    if number == NORMS - 1:
        outputs.append(_converted(inner.output(0), map_type))
    style = model.get_parameters()[1:] if number else []
    return ov.Model(outputs, [features, start, stop, *style, *statistics], f"norm{number}")


def _picture(model: ov.Model, map_type: np.dtype) -> ov.Model:
    """Build the graph from values before the last norm, style, mean [3] and reciprocal deviation [3] to picture."""
    norm = _Cuts(model).norms[-1]
    values = _feed(_convolved(norm), map_type)
    statistics = _fix(norm)
    return ov.Model(
        [model.output(0).get_node().input_value(0)], [values, *model.get_parameters()[1:], *statistics], "picture"
    )


_STAGES = {"contraction": _contraction, "blocks": _residual_blocks, "picture": _picture}


def _feed(place: ov.Output, dtype: np.dtype) -> ov.Node:
    """Put a new parameter of that type in place of an output."""
    targets = place.get_target_inputs()
    parameter = op.parameter(place.get_partial_shape(), dtype)
    source = _converted(parameter.output(0), np.dtype(np.float32))
    for target in targets:
        target.replace_source_output(source)
    return parameter


def _fix(norm: ov.Node) -> list[ov.Node]:
    """Put new parameters, mean [C] and reciprocal deviation [C], in place of a norm's own statistics."""
    shape = norm.get_output_partial_shape(0)
    channels, rank = shape[1].get_length(), len(shape)
    parameters = [op.parameter([channels], np.float32) for _ in range(2)]
    spread = op.constant(np.array([1, channels] + [1] * (rank - 2)))
    mean, reciprocal = (op.reshape(parameter, spread, False) for parameter in parameters)
    targets = norm.output(0).get_target_inputs()
    fixed = op.multiply(op.subtract(norm.input_value(0), mean), reciprocal)
    for target in targets:
        target.replace_source_output(fixed.output(0))
    return parameters


def _converted(output: ov.Output, dtype: np.dtype) -> ov.Output:
    wanted = ov.Type(dtype)
    return output if output.get_element_type() == wanted else op.convert(output, wanted.to_string()).output(0)
