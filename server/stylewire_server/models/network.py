"""A network as the engines see it: two graphs that meet at the style vector, and where they came from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino

STYLE_SIDE = 256
"""Side in pixels of the square that the style predictor takes."""


class WeightsError(Exception):
    """The weights cannot be used; the message says why and what to do. For the operator: it may name paths."""


@contextmanager
def require_extra(what: str, extra: str) -> Iterator[None]:
    """Raise WeightsError where a package is missing that `what` needs and that the extra installs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise WeightsError(f"{what} needs {error.name}: pip install 'stylewire[{extra}]'") from None


@dataclass(frozen=True)
class Frozen:
    """The two graphs as frozen TensorFlow GraphDef files, with the node names at the end of this module."""

    predictor: Path
    transformer: Path


@dataclass(frozen=True)
class PixelBytes:
    """Bytes of memory for each pixel of a content while it is transformed, above the loaded process.

    Args:
        one_pass: When the whole picture goes through the transformer at once.
        tiled: When it goes in tiles, beside what one tile takes.
    """

    one_pass: int
    tiled: int


@dataclass(frozen=True)
class Network:
    """One edition of the style transfer network, not yet loaded.

    Args:
        edition: "lite", "full", or the name of a folder.
        style_dimension: Length D of the style vector.
        sha256: Over the files that the weights came from.
        verified: Whether those files are the published ones.
        predictor: Reads style [1,256,256,3] -> vector, any shape of D elements.
        transformer: Reads (content [N,H,W,3], style [N,D+P]) -> picture [N,H,W,3], H and W multiples of 4; P is the
            number of scales and offsets of its norms.
        pixel_bytes: Precision, "f32" or "bf16", -> what a pixel takes.
        bf16: Which of "predictor" and "transformer" may run in bf16: their pictures were found close to those in f32.
        int8: Reads the transformer quantised to int8, found close to f32; None where there is none.
        frozen: Where TensorFlow finds it; None where it has no TensorFlow graphs.
    """

    edition: str
    style_dimension: int
    sha256: str
    verified: bool
    predictor: Callable[["openvino.Core"], "openvino.Model"]
    transformer: Callable[["openvino.Core"], "openvino.Model"]
    pixel_bytes: Mapping[str, PixelBytes]
    bf16: frozenset[str] = frozenset()
    int8: Callable[["openvino.Core"], "openvino.Model"] | None = None
    frozen: Frozen | None = None


STYLE = "placeholder_1"
"""[N,H,W,3] in 0..1."""

CONTENT = "placeholder"
"""[N,H,W,3] in 0..1."""

VECTOR = "StatefulPartitionedCall/bottleneck/Mean"
"""The style vector, [N,1,1,768]: all that the two halves share."""

PICTURE = "Identity"
"""[N,H,W,3] in 0..1."""
