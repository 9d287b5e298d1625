"""The interface of every engine, and the padding that all of them need."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

MULTIPLE = 4
"""The transformer halves its input twice and doubles it twice, so its sides come in fours."""


Checkpoint = Callable[[], None]
"""Called between the stages of a job; raises when the job is no longer wanted."""


class EngineError(Exception):
    """The engine cannot run as asked; the message says why and what to do. For the operator."""


class Engine(Protocol):
    """Two functions on arrays. Safe to call from several threads.

    Attributes:
        name: "openvino" or "tensorflow".
        precision: What the transformer computes in: "f32", "bf16" or "int8".
        style_dimension: Length D of a style vector.
        norm_parameters: Number P of the transformer's scales and offsets, which a tuned style moves one by one.
        one_pass_pixels: Pixels of the largest picture that goes through the transformer at once.
        max_pixels: Pixels of the largest picture that can be transformed.
    """

    name: str
    precision: str
    style_dimension: int
    norm_parameters: int
    one_pass_pixels: int
    max_pixels: int

    def predict(self, style: np.ndarray) -> np.ndarray:
        """Style [N,256,256,3], float32 in 0..1 or uint8, to style vectors, float32 [N,D]."""
        ...

    def transform(self, content: np.ndarray, vector: np.ndarray, checkpoint: Checkpoint = lambda: None) -> np.ndarray:
        """Content [N,H,W,3], float32 in 0..1 or uint8, in a style, float32 [N,D], or [N,D+P] for a tuned one.

        The picture has the content's shape and type; H and W are any from 16 pixels up. `checkpoint` is called now and
        then while a large picture is made; what it raises ends the work.
        """
        ...


def with_tuning(style: np.ndarray, length: int) -> np.ndarray:
    """Return a style [N,D] or [N,D+P] with D+P = `length` numbers; one without a tuning gets one of zeros."""
    missing = length - style.shape[1]
    return np.pad(style, ((0, 0), (0, missing))) if missing else style


def pad_to_multiple(content: np.ndarray) -> np.ndarray:
    """Content [N,H,W,3] with bottom and right reflected until both sides are multiples of 4."""
    height, width = content.shape[1:3]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    if not (down or right):
        return content
    return np.pad(content, ((0, 0), (0, down), (0, right), (0, 0)), mode="reflect")
