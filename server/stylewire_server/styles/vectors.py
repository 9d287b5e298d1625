"""Styles as arrays: blends of them, and the cache that spares predicting one twice.

A style is a point in the space of the transformer's scales and offsets. It is kept as a style vector [D], which the
network maps into that space, or as a vector with a tuning behind it [D+P], which moves the point. The map is affine and
the tuning is added, so sums whose weights sum to 1 mean the same before the map and after it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Edition:
    """Which network a style vector belongs to; vectors of one mean nothing to another.

    Args:
        name: "lite", "full", or the name of a folder.
        weights_sha256: Over the files that its weights came from.
    """

    name: str
    weights_sha256: str


def blend(vectors: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return the weighted mean of styles, each [D] or [D+P]: [D+P] if one of them is tuned.

    Scale and offset of every instance norm are affine in the vector, so mixing vectors mixes styles (Ghiasi et al.
    2017, section 4). Weights are zero or more, with a sum above zero; they are divided by it.
    """
    share = np.asarray(weights, np.float64)
    share = share / share.sum()
    return (share @ np.stack(_of_one_length(vectors)).astype(np.float64)).astype(np.float32)


def interpolate(content: np.ndarray, style: np.ndarray, strength: float) -> np.ndarray:
    """Return a style at that strength 0..1, as long as the longer: 0 is the content's own style, 1 the style itself.

    Ghiasi et al. 2017 (Exploring the structure of a real-time, arbitrary neural artistic stylization network),
    section 4. Strength 0 gives the content painted in its own style, which is not the original picture.
    """
    content, style = _of_one_length([content, style])
    return (np.float32(1.0 - strength) * content + np.float32(strength) * style).astype(np.float32)


def _of_one_length(vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the styles with a tuning of zeros where one has none and another has."""
    length = max(len(vector) for vector in vectors)
    return [np.pad(vector, (0, length - len(vector))) for vector in vectors]


def fingerprint(source: bytes | np.ndarray) -> str:
    """sha256 that tells one style picture, a file or pixels [H,W,3], from another."""
    if isinstance(source, np.ndarray):
        shape = f"{source.shape} {source.dtype} ".encode()
        return hashlib.sha256(shape + source.tobytes()).hexdigest()
    return hashlib.sha256(source).hexdigest()


def fingerprint_of_blend(parts: Sequence[str], weights: Sequence[float]) -> str:
    """sha256 over the fingerprints of a blend's parts and their shares; of a single part, its own."""
    if len(parts) == 1:
        return parts[0]
    total = sum(weights)
    lines = sorted(f"{part} {weight / total:.6f}" for part, weight in zip(parts, weights, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class StyleCache:
    """Style vectors under the fingerprint of their picture, the least recently used dropped first.

    Safe to call from several threads; a vector that several calls want at one time is computed by one of them.

    Args:
        max_bytes: Of all vectors together.

    Attributes:
        hits: Vectors that were there.
        misses: Vectors that were not.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._vectors: OrderedDict[str, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._pending: dict[str, Future[np.ndarray]] = {}
        self.hits = 0
        self.misses = 0

    def get(self, key: str, compute: Callable[[], np.ndarray]) -> tuple[np.ndarray, bool]:
        """The vector under that key, and whether it was there already; `compute` makes one that was not.

        An error of `compute` is its own call's alone; another that was waiting for it tries for itself.
        """
        with self._lock:
            if key in self._vectors:
                self._vectors.move_to_end(key)
                self.hits += 1
                return self._vectors[key], True
            self.misses += 1
            pending = self._pending.get(key)
            if pending is None:
                mine = self._pending[key] = Future()
        if pending is not None:
            try:
                return pending.result(), False
            except Exception:
                return compute(), False
        try:
            vector = compute()
        except BaseException as error:
            self._settle(key).set_exception(error)
            raise
        self._keep(key, vector)
        mine.set_result(vector)
        return vector, False

    def _settle(self, key: str) -> Future[np.ndarray]:
        with self._lock:
            return self._pending.pop(key)

    def _keep(self, key: str, vector: np.ndarray) -> None:
        with self._lock:
            self._pending.pop(key)
            self._vectors[key] = vector
            self._bytes += vector.nbytes
            while self._bytes > self._max_bytes and self._vectors:
                _, dropped = self._vectors.popitem(last=False)
                self._bytes -= dropped.nbytes
