"""The interface of every engine, and the padding that all of them need."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

MULTIPLE = 4
"""Divisor of both sides of a content: the transformer halves the picture twice and doubles it twice."""


Checkpoint = Callable[[], None]
"""Function that is called between the stages of a job. It raises an error if the job is no longer needed."""


class EngineError(Exception):
    """The engine cannot run with these settings. The message says what to do; it is for the operator."""


class Engine(Protocol):
    """An engine has two functions on arrays. They are safe to call from several threads.

    Attributes:
        name: "openvino" or "tensorflow".
        precision: Number format of the transformer: "f32", "bf16" or "int8".
        style_dimension: Length D of a style vector.
        norm_parameters: Number P of the transformer's scales and offsets. A tuned style changes each of them.
        one_pass_pixels: Maximum pixels of a picture that is computed in one pass.
        max_pixels: Maximum pixels of a picture that can be transformed.
    """

    name: str
    precision: str
    style_dimension: int
    norm_parameters: int
    one_pass_pixels: int
    max_pixels: int

    def predict(self, style: np.ndarray) -> np.ndarray:
        """Return the style vectors, float32 [N,D], of style pictures [N,256,256,3], float32 in 0..1 or uint8."""
        ...

    def transform(self, content: np.ndarray, vector: np.ndarray, checkpoint: Checkpoint = lambda: None) -> np.ndarray:
        """Return contents [N,H,W,3] in styles. The pictures have the shape and type of the contents.

        Args:
            content: Contents, float32 in 0..1 or uint8; H and W are at least 16 pixels.
            vector: Styles, float32 [N,D], or [N,D+P] for tuned styles.
            checkpoint: Called several times during a large picture. An error that it raises ends the work.
        """
        ...


def with_tuning(style: np.ndarray, length: int) -> np.ndarray:
    """Return a style [N,D] or [N,D+P] with D+P = `length` numbers. A style without a tuning gets a tuning of zeros."""
    missing = length - style.shape[1]
    return np.pad(style, ((0, 0), (0, missing))) if missing else style


def pad_to_multiple(content: np.ndarray) -> np.ndarray:
    """Return a content [N,H,W,3] padded by reflection at the bottom and right, to sides that are multiples of 4."""
    height, width = content.shape[1:3]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    if not (down or right):
        return content
    return np.pad(content, ((0, 0), (0, down), (0, right), (0, 0)), mode="reflect")
