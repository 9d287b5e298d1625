"""The CPU engine: OpenVINO."""

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op
from openvino.preprocess import PrePostProcessor

from ..models.network import Network
from .base import MULTIPLE, Checkpoint, pad_to_multiple, with_tuning
from .graph_cache import GraphCache
from .memory import DEFAULT_BUDGET, MemoryBudget
from .tiles import TILE_BYTES, TiledTransformer

U8 = np.dtype(np.uint8)

_NO_INT8 = {"LP_TRANSFORMS_MODE": "NO"}
"""Compute a quantized graph in floating point, with the rounding that the graph itself states.

Without VNNI, x86 adds products of 8-bit numbers in saturating 16-bit registers (vpmaddubsw). The sums of the lite
predictor overflow there: the cosine of its style vector to the right one is 0.98, and the picture is wrong. In floating
point the cosine is 0.9999 on every CPU, for about a third more time for each new style.
"""

_KERNELS = 32
"""Compiled kernels that each stream keeps for later pictures: those of the last one or two sizes.

OpenVINO's default of 5000 grows by about 1 MB with every new size, to gigabytes.
"""


CALM_SECONDS = 0.25
"""Seconds without two pictures at one time, after which a picture counts as single."""


class OpenVinoEngine:
    """A network in OpenVINO on the CPU. One graph with open sides serves every picture size.

    Args:
        network: The network to run.
        precision: "f32", "bf16", "int8" of a network that has it, or "auto": bf16 where the CPU computes in it natively
            and the network is fit for it. What is not quantized in int8 is computed as with "auto".
        threads: Cores to compute on; 0 for all.
        streams: Pictures computed at one time; they share the threads.
        picture_memory: Bytes for the pictures that are transformed at one time; a picture waits for its share.
        adaptive: True to compute a single picture on all threads and not only on its share. The order of the sums is
            then different, so levels of the same picture may differ by up to about 8 of 255.
        kept: A folder that keeps the compiled graphs for the next start; None to keep no graphs. If it cannot be used,
            the graphs are compiled at each start.
    """

    name = "openvino"

    def __init__(
        self,
        network: Network,
        precision: str = "auto",
        threads: int = 0,
        streams: int = 1,
        *,
        picture_memory: int = DEFAULT_BUDGET,
        adaptive: bool = False,
        kept: Path | None = None,
    ) -> None:
        self.style_dimension = network.style_dimension
        core = ov.Core()
        transformer, quantized = network.transformer, False
        if precision == "int8" and network.int8 is not None:
            transformer, quantized, precision = network.int8, True, "auto"
        if precision == "auto":
            precision = "bf16" if "transformer" in network.bf16 and computes_bf16(core) else "f32"
        config = {
            "INFERENCE_NUM_THREADS": str(threads),
            # Two processes that pin their threads would use the same cores.
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": str(_KERNELS),
        }
        cache = GraphCache(kept if network.identity else None)
        predictor_precision = precision if "predictor" in network.bf16 else "f32"
        # One stream is enough, because style vectors are cached.
        # The predictor is compiled when it is first needed; a process that uses only named styles never needs it.
        make = partial(_Half, core, cache)
        predictor = _Graph(f"{network.identity} predictor", network.predictor, _pixels_in)
        self._predict = make(predictor, config | _NO_INT8, predictor_precision, 1, ready=False)
        graph = _Graph(f"{network.identity} transformer {'int8' if quantized else ''}", transformer, _pixels_in_and_out)
        beside = make(graph, config, precision, streams)
        self._transform: _Half | _Adaptive = beside
        if adaptive and streams > 1:
            self._transform = _Adaptive(make(graph, config, precision, 1), beside, streams)
        self.precision = "int8" if quantized else beside.precision
        self.norm_parameters = beside.style_length - network.style_dimension
        # There is a graph for each type of pixels, and one more for a picture that is alone.
        graphs = 2 * (streams + isinstance(self._transform, _Adaptive))
        self._budget = MemoryBudget(picture_memory, graphs, self._transform.release)
        self._pixel_bytes = network.pixel_bytes[beside.precision]
        self.one_pass_pixels = picture_memory // self._pixel_bytes.one_pass
        self._tiled = TiledTransformer(
            core,
            network.transformer,
            config | {"INFERENCE_PRECISION_HINT": beside.precision, "NUM_STREAMS": "1"},
            _pixels_in,
            _pixels_out,
            np.float32 if beside.precision == "f32" else np.float16,
            math.isqrt(TILE_BYTES // self._pixel_bytes.one_pass) // MULTIPLE * MULTIPLE,
        )
        in_tiles = (picture_memory - TILE_BYTES) // self._pixel_bytes.tiled
        self.max_pixels = max(self.one_pass_pixels, in_tiles)

    def predict(self, style: np.ndarray) -> np.ndarray:
        """Predict as `Engine.predict` says, one picture after another."""
        return np.stack([self._predict(picture[np.newaxis]).reshape(-1) for picture in style])

    def transform(self, content: np.ndarray, vector: np.ndarray, checkpoint: Checkpoint = lambda: None) -> np.ndarray:
        """Transform as `Engine.transform` says. A picture of more than `one_pass_pixels` is computed in tiles."""
        number, height, width = content.shape[:3]
        style = with_tuning(vector, self.style_dimension + self.norm_parameters)
        if height * width > self.one_pass_pixels:
            pairs = zip(np.split(content, number), np.split(style, number), strict=True)
            return np.concatenate([self._transform_in_tiles(*pair, checkpoint) for pair in pairs])
        with self._budget.reserve(number * height * width * self._pixel_bytes.one_pass):
            return self._transform(pad_to_multiple(content), style)[:, :height, :width]

    def _transform_in_tiles(self, content: np.ndarray, style: np.ndarray, checkpoint: Checkpoint) -> np.ndarray:
        height, width = content.shape[1:3]
        with self._budget.reserve(TILE_BYTES + height * width * self._pixel_bytes.tiled):
            checkpoint()
            return self._tiled(pad_to_multiple(content), style, checkpoint)[:, :height, :width]


@dataclass(frozen=True)
class _Graph:
    """One of a network's two graphs, not yet compiled.

    Args:
        identity: Name of the graph for the cache of compiled graphs.
        read: Reads the graph, which takes pixels in 0..1.
        on_bytes: Changes the graph to pixels as uint8.
    """

    identity: str
    read: Callable[[ov.Core], ov.Model]
    on_bytes: Callable[[ov.Model], ov.Model]


class _Half:
    """A graph that is compiled for the pixel types that calls bring, with a request for every stream.

    Attributes:
        precision: The precision that is used. It differs from the requested one if the CPU cannot compute in that.
        style_length: Numbers of a style, D+P, that the transformer takes.
    """

    precision: str
    style_length: int

    def __init__(
        self,
        core: ov.Core,
        cache: GraphCache,
        graph: _Graph,
        config: dict[str, str],
        precision: str,
        streams: int,
        *,
        ready: bool = True,
    ) -> None:
        self._core, self._cache, self._graph, self._streams = core, cache, graph, streams
        self._config = config | {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": str(streams)}
        self._lock = threading.Lock()
        self._requests: dict[np.dtype, queue.SimpleQueue[ov.InferRequest]] = {}
        if ready:
            self._idle(U8)

    def __call__(self, pixels: np.ndarray, *others: np.ndarray) -> np.ndarray:
        idle = self._idle(pixels.dtype)
        request = idle.get()
        try:
            # Without `share_outputs` the result would be copied twice.
            request.infer([np.ascontiguousarray(pixels), *others], share_inputs=True, share_outputs=True)
            return request.get_output_tensor(0).data.copy()
        finally:
            idle.put(request)

    def release(self) -> None:
        """Return the memory of finished pictures to the system. Call it while none runs."""
        with self._lock:
            for idle in self._requests.values():
                requests = [idle.get() for _ in range(self._streams)]
                runnable = requests[0].get_compiled_model()
                # A request keeps its last input and output, so each is replaced by a new one.
                requests.clear()
                try:
                    runnable.release_memory()
                finally:
                    for _ in range(self._streams):
                        idle.put(runnable.create_infer_request())

    def _idle(self, dtype: np.dtype) -> "queue.SimpleQueue[ov.InferRequest]":
        with self._lock:
            if dtype not in self._requests:
                runnable = self._cache.compile(
                    self._core, lambda: self._read(dtype), self._config, self._graph.identity, dtype.name
                )
                self.style_length = runnable.inputs[-1].get_partial_shape()[1].get_max_length()
                self.precision = runnable.get_property("INFERENCE_PRECISION_HINT").to_string()
                requests: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
                for _ in range(self._streams):
                    requests.put(runnable.create_infer_request())
                self._requests[dtype] = requests
            return self._requests[dtype]

    def _read(self, dtype: np.dtype) -> ov.Model:
        model = self._graph.read(self._core)
        return self._graph.on_bytes(model) if dtype == U8 else model


class _Adaptive:
    """One graph in two arrangements: for a single picture, and for several pictures at one time.

    One stream with many threads is the fastest for a single picture. Several streams with few threads use the cores
    best. The arrangement changes only after some time with a single picture, because short gaps also happen under load.
    """

    def __init__(self, alone: _Half, beside: _Half, streams: int) -> None:
        self._alone, self._beside = alone, beside
        self._places = threading.Semaphore(streams)
        self._lock = threading.Lock()
        self._running = 0
        self._last_beside = -CALM_SECONDS

    def __call__(self, pixels: np.ndarray, *others: np.ndarray) -> np.ndarray:
        with self._places:
            with self._lock:
                now = time.monotonic()
                if self._running:
                    self._last_beside = now
                half = self._alone if now - self._last_beside >= CALM_SECONDS else self._beside
                self._running += 1
            try:
                return half(pixels, *others)
            finally:
                with self._lock:
                    self._running -= 1

    def release(self) -> None:
        """Return the memory of finished pictures to the system."""
        self._alone.release()
        self._beside.release()


def computes_bf16(core: ov.Core) -> bool:
    """Return True where the CPU has instructions for bf16. Without them bf16 is slower than f32."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _pixels_in(model: ov.Model) -> ov.Model:
    """Return the graph with its first input as uint8. The conversion becomes a part of the compiled graph."""
    steps = PrePostProcessor(model)
    steps.input(0).tensor().set_element_type(ov.Type.u8)
    steps.input(0).preprocess().convert_element_type(ov.Type.f32).scale(255.0)
    return steps.build()


def _pixels_out(model: ov.Model) -> ov.Model:
    """Return the graph with its picture as uint8, rounded."""
    steps = PrePostProcessor(model)
    steps.output(0).postprocess().custom(_to_bytes)
    return steps.build()


def _pixels_in_and_out(model: ov.Model) -> ov.Model:
    return _pixels_out(_pixels_in(model))


def _to_bytes(picture: ov.Output) -> ov.Output:
    levels = op.round(op.multiply(picture, op.constant(np.float32(255.0))), "half_to_even")
    return op.convert(op.clamp(levels, 0.0, 255.0), "u8").output(0)
