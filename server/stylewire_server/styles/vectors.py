"""Styles as arrays: blends, strength, and the cache of predicted style vectors.

A style sets the P scales and offsets of the transformer's norms. The network computes them from a style vector [D] by
an affine map. A tuned style [D+P] has a tuning too: P numbers that are added to the result of the map. So a weighted
mean of styles gives the same weighted mean of scales and offsets.
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
    """The network that made a style vector. No other network can use the vector.

    Args:
        name: "lite", "full", or the name of a folder.
        weights_sha256: SHA-256 over the files of the network's weights.
    """

    name: str
    weights_sha256: str


def blend(vectors: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Return the weighted mean of styles, each [D] or [D+P]. The result is [D+P] if one of them is tuned.

    Scale and offset of every instance norm are affine in the vector, so mixing vectors mixes styles (Ghiasi et al.
    2017, section 4). Weights are zero or more, with a sum above zero; they are divided by it.
    """
    share = np.asarray(weights, np.float64)
    share = share / share.sum()
    return (share @ np.stack(_of_one_length(vectors)).astype(np.float64)).astype(np.float32)


def interpolate(content: np.ndarray, style: np.ndarray, strength: float) -> np.ndarray:
    """Return a style [D] or [D+P] at a strength 0..1: 0 is the content's own style, and 1 is the style itself.

    Ghiasi et al. 2017 (Exploring the structure of a real-time, arbitrary neural artistic stylization network),
    section 4. Strength 0 gives the content painted in its own style, which is not the original picture.
    """
    content, style = _of_one_length([content, style])
    return (np.float32(1.0 - strength) * content + np.float32(strength) * style).astype(np.float32)


def _of_one_length(vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the styles at one length: if one of them is tuned, the others get a tuning of zeros."""
    length = max(len(vector) for vector in vectors)
    return [np.pad(vector, (0, length - len(vector))) for vector in vectors]


def fingerprint(source: bytes | np.ndarray) -> str:
    """Return the SHA-256 of a style picture, a file or pixels [H,W,3]."""
    if isinstance(source, np.ndarray):
        shape = f"{source.shape} {source.dtype} ".encode()
        return hashlib.sha256(shape + source.tobytes()).hexdigest()
    return hashlib.sha256(source).hexdigest()


def fingerprint_of_blend(parts: Sequence[str], weights: Sequence[float]) -> str:
    """Return the SHA-256 over the fingerprints and shares of a blend's parts; a single part keeps its fingerprint."""
    if len(parts) == 1:
        return parts[0]
    total = sum(weights)
    lines = sorted(f"{part} {weight / total:.6f}" for part, weight in zip(parts, weights, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class StyleCache:
    """Cache of style vectors by the fingerprint of their picture. The least recently used vector is dropped first.

    Safe to call from several threads. If several calls need the same vector at one time, only one of them computes it.

    Args:
        max_bytes: Maximum bytes of all vectors together.

    Attributes:
        hits: Number of look-ups that found a vector.
        misses: Number of look-ups that found none.
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
        """Return the vector of a key, and True if the cache had it; otherwise call `compute` and keep its result.

        If `compute` raises an error, only the call that ran it gets the error. Calls that waited for it compute the
        vector themselves.
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
