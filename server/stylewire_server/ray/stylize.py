"""The work of one Ray actor: it stylizes pictures with the stylizer of the server."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np

from ..engine_settings import NO_MESSAGE_BYTES
from ..errors import InvalidInput, ServiceError, StyleMismatch
from ..models.select import open_network
from ..options import Options, WeightedStyle
from ..passes import Pass
from ..runtime.loading import make_stylizer, open_watched_engine
from ..settings import ServeSettings
from ..styles import vectors
from ..styles.file import KeptStyle
from ..styles.gallery import load_gallery
from ..styles.storage import below, open_blobs
from ..styles.store import GALLERY, StyleStore
from ..stylizer import Stylized, Stylizer, Timings

_NAME = re.compile(rf"(?:{GALLERY})?[a-z0-9][a-z0-9-]{{0,62}}")


@dataclass(frozen=True)
class BatchStyle:
    """One style of a batch. It is read where the job starts, so no other machine needs the file.

    Args:
        source: The bytes of a picture, or a named style.
        weight: Weight in the blend, above 0.
    """

    source: bytes | KeptStyle
    weight: float = 1.0


def read_styles(styles: Sequence[str | BatchStyle], settings: ServeSettings) -> list[BatchStyle]:
    """Read the styles of a batch.

    Args:
        styles: Pictures (paths or fsspec URLs) or names of named styles. Each may end with `=WEIGHT`.
        settings: The settings of the model and of the named styles.

    Raises:
        InvalidInput: No style is given, or a weight is not a number above 0.
        ServiceError: A named style cannot be used.
        OSError: A picture cannot be read.
        WeightsError: The model cannot be used.
    """
    if not styles:
        raise InvalidInput("styles", "styles is empty; give at least 1 style")
    return [style if isinstance(style, BatchStyle) else _read_style(style, settings) for style in styles]


def _read_style(given: str, settings: ServeSettings) -> BatchStyle:
    source, weight = given, 1.0
    if match := re.fullmatch(r"(.+)=([^=/]+)", given):
        source = match[1]
        try:
            weight = float(match[2])
        except ValueError:
            raise InvalidInput("styles", f"style {given!r}: the weight {match[2]!r} is not a number") from None
    WeightedStyle(b"", weight, given)
    if _NAME.fullmatch(source):
        network = open_network(settings.model, settings.cache)
        edition = vectors.Edition(network.edition, network.sha256)
        store = StyleStore(open_blobs(below(settings.data_dir, "styles")), load_gallery(edition))
        return BatchStyle(store.get(source), weight)
    with fsspec.open(source, "rb") as file:
        return BatchStyle(file.read(), weight)


class Stylize:
    """A callable class for `ray.data.Dataset.map_batches` that adds the stylized picture to each row.

    Each actor holds one engine. Give it as many CPUs as threads: `num_cpus=threads`.

    Args:
        styles: Pictures (paths or fsspec URLs) or names of named styles. Each may end with `=WEIGHT`.
        options: Options of every picture; None for the defaults.
        column: The column with the bytes of the pictures.
        threads: Number of cores for this actor.
        settings: Flags of `stylewire-server serve` by name, such as `model`, `precision`, `data_dir`.

    Raises:
        ServiceError, OSError, WeightsError, EngineError: The model or a style cannot be used.
    """

    def __init__(
        self,
        styles: Sequence[str | BatchStyle],
        options: Options | None = None,
        column: str = "bytes",
        threads: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        serve = ServeSettings(
            **{
                **(settings or {}),
                "threads": threads,
                "streams": 1,
                "processes": 1,
                "max_message_bytes": NO_MESSAGE_BYTES,
            }
        )
        network, engine = open_watched_engine(serve, crashed=lambda: None)
        stylizer = make_stylizer(network, engine, serve)
        self._stylizer = stylizer
        self._options = options or Options()
        self._column = column
        self._passes = [Pass(_vector(stylizer, read_styles(styles, serve)))]

    def stylize(self, content: bytes, options: Options | None = None) -> Stylized:
        """Return the stylized picture of one content.

        Raises:
            InvalidInput: The content cannot be used.
        """
        return self._stylizer.stylize_in(self._passes, content, options or self._options, Timings())

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the batch with the columns `stylized` (bytes) and `error`; one of them is None in each row."""
        stylized: list[bytes | None] = []
        errors: list[str | None] = []
        for content in batch[self._column]:
            try:
                data, error = self.stylize(bytes(content)).data, None
            except ServiceError as problem:
                data, error = None, str(problem)
            stylized.append(data)
            errors.append(error)
        return {**batch, "stylized": np.array(stylized, object), "error": np.array(errors, object)}


def _vector(stylizer: Stylizer, styles: Sequence[BatchStyle]) -> np.ndarray:
    """Return the style vector of a blend."""
    found = []
    for style in styles:
        if isinstance(style.source, KeptStyle):
            if not stylizer.is_own(style.source):
                raise StyleMismatch(f"style {style.source.name!r} was made by another network than this machine's")
            found.append(style.source.vector)
        else:
            found.append(stylizer.find_passes([WeightedStyle(style.source)], Timings())[0].vector)
    return vectors.blend(found, [style.weight for style in styles])
