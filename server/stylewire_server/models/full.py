"""The full edition, from the folder that fetching left: nothing here needs tensorflow or the network."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .files import sync
from .network import Frozen, Network, PixelBytes, WeightsError

FOLDER = "full"
"""Name of the converted model's folder in the cache folder."""

MANIFEST = "manifest.json"
PREDICTOR, TRANSFORMER = "predictor.xml", "transformer.xml"
TRANSFORMER_INT8 = "transformer_int8.xml"
FROZEN = Frozen(Path("predictor.pb"), Path("transformer.pb"))

BOTH = frozenset({"predictor", "transformer"})
"""For `Network.bf16`: the check covers both halves at once."""

FORMAT = 2
"""Version of the folder's layout. A layout that older releases cannot read gets another number."""

STYLE_DIMENSION = 768

PIXEL_BYTES: Mapping[str, PixelBytes] = {
    "f32": PixelBytes(one_pass=416, tiled=300),
    "bf16": PixelBytes(one_pass=216, tiled=150),
}
"""Measured with OpenVINO on the graph with random weights, but for bf16 in tiles, which is taken as half of f32."""

F32_DB = 80.0
"""PSNR against the SavedModel in TensorFlow that the converted model must reach in f32."""

BF16_DB = 35.0
"""PSNR against the SavedModel in bf16, dB. Below it `--precision auto` stays in f32."""

INT8_DB = 30.0
"""PSNR against f32 that an int8 transformer must reach to be kept. At 30 dB the root mean square error is 8 levels of
255; the lite edition's int8 graph as Google ships it is at 25 dB.
"""


@dataclass(frozen=True)
class Manifest:
    """The contents of a converted folder and how they were made. It is written last.

    Args:
        sources: Name -> sha256 of every file of the SavedModel.
        verified: Whether they are the published ones.
        versions: Of the packages that converted it.
        sizes: Name -> bytes of every converted file.
        f32_db: PSNR in f32 against the SavedModel in TensorFlow, dB, the worst over the pictures tried; None before.
        bf16_db: The same in bf16; None where the CPU that converted it cannot compute in it, too.
        format: See `FORMAT`.
        int8_db: PSNR of the int8 transformer against f32, dB, the worst over pairs that it was not calibrated on; None
            where there is no such transformer.
    """

    sources: Mapping[str, str]
    verified: bool
    versions: Mapping[str, str]
    sizes: Mapping[str, int] = field(default_factory=dict)
    f32_db: float | None = None
    bf16_db: float | None = None
    format: int = FORMAT
    int8_db: float | None = None

    @property
    def sha256(self) -> str:
        """Over the sources."""
        return hashlib.sha256("".join(self.sources[name] for name in sorted(self.sources)).encode()).hexdigest()

    @property
    def bf16(self) -> bool:
        """True where bf16 passed its check."""
        return self.bf16_db is not None and self.bf16_db >= BF16_DB

    def write(self, folder: Path) -> None:
        """Into folder, at once: a reader finds what was there before or this."""
        path = folder / MANIFEST
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        sync(unfinished)
        unfinished.replace(path)
        sync(folder)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        WeightsError: It holds no converted model, or not all of it.
    """
    try:
        fields: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        if fields["format"] != FORMAT:
            raise WeightsError(f"{folder} has format {fields['format']}, expected {FORMAT}; {_again(folder)}")
        manifest = Manifest(**fields)
    except FileNotFoundError:
        raise WeightsError(_absent(folder)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / MANIFEST} cannot be read ({error!r}); {_again(folder)}") from None
    for name, size in manifest.sizes.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            raise WeightsError(f"{path} has {found:,} bytes, expected {size:,}; {_again(folder)}")
    return manifest


def full(folder: Path, edition: str = "full") -> Network:
    """The converted model in folder.

    Raises:
        WeightsError: It holds no converted model, or not all of it.
    """
    return as_network(folder, read_manifest(folder), edition)


def as_network(folder: Path, manifest: Manifest, edition: str = "full") -> Network:
    """Return the converted model in a folder whose manifest has been read."""
    return Network(
        edition=edition,
        style_dimension=STYLE_DIMENSION,
        sha256=manifest.sha256,
        verified=manifest.verified,
        predictor=partial(_read, path=folder / PREDICTOR),
        transformer=partial(_read, path=folder / TRANSFORMER),
        pixel_bytes=PIXEL_BYTES,
        bf16=BOTH if manifest.bf16 else frozenset(),
        int8=None if manifest.int8_db is None else partial(_read, path=folder / TRANSFORMER_INT8),
        frozen=Frozen(folder / FROZEN.predictor, folder / FROZEN.transformer),
    )


def _read(core: Any, path: Path) -> Any:
    return core.read_model(path)


def _absent(folder: Path) -> str:
    if (folder / "saved_model.pb").is_file():
        return (
            f"{folder} is a SavedModel, which is converted once before it is served: "
            f"python -m stylewire_server fetch --from {folder} --to FOLDER"
        )
    if folder.name == FOLDER:
        return f"the full model is not in {folder.parent}; get it: {_fetch(folder)}"
    return f"{folder} holds no converted model: it has no {MANIFEST}; {_fetch(folder)}"


def _again(folder: Path) -> str:
    return f"fetch it again: {_fetch(folder)}"


def _fetch(folder: Path) -> str:
    """The command that makes that folder."""
    return "python -m stylewire_server fetch" + ("" if folder.name == FOLDER else f" --to {folder}")
