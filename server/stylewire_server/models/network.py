"""A network for the engines: the graphs of predictor and transformer, and the origin of their weights."""

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
    """The weights cannot be used. The message says what to do; it is for the operator and may name paths."""


@contextmanager
def require_extra(what: str, extra: str) -> Iterator[None]:
    """Raise WeightsError if a package of an extra is missing.

    Args:
        what: The work that needs the package, for the message.
        extra: The extra that installs the package.
    """
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
        one_pass: Bytes if the whole picture is computed in one pass.
        tiled: Bytes if it is computed in tiles, without the memory of the tile itself.
    """

    one_pass: int
    tiled: int


@dataclass(frozen=True)
class Network:
    """One edition of the style transfer network, not yet loaded.

    Args:
        edition: "lite", "full", or the name of a folder.
        style_dimension: Length D of the style vector.
        sha256: SHA-256 over the files of the weights.
        verified: True if those files are the published files.
        predictor: Reads the graph style [1,256,256,3] -> vector, any shape of D elements.
        transformer: Reads the graph (content [N,H,W,3], style [N,D+P]) -> picture [N,H,W,3], H and W multiples of 4;
            P is the number of scales and offsets of its norms.
        pixel_bytes: Precision, "f32" or "bf16", -> bytes for each pixel.
        bf16: Those of "predictor" and "transformer" that may run in bf16, because their pictures are close to f32.
        int8: Reads the transformer in int8, whose pictures are close to f32; None if there is none.
        frozen: Files for TensorFlow; None if the edition has no TensorFlow graphs.
        identity: Text that changes whenever a graph does; empty if compiled graphs should not be kept.
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
    identity: str = ""


STYLE = "placeholder_1"
"""Node of the style pictures, [N,H,W,3] in 0..1."""

CONTENT = "placeholder"
"""Node of the contents, [N,H,W,3] in 0..1."""

VECTOR = "StatefulPartitionedCall/bottleneck/Mean"
"""Node of the style vector, [N,1,1,768], the output of the predictor and an input of the transformer."""

PICTURE = "Identity"
"""Node of the stylized pictures, [N,H,W,3] in 0..1."""
