"""The full edition, read from the folder that `fetch` wrote. This module does not need tensorflow."""

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
"""Value of `Network.bf16`: one check covers predictor and transformer."""

FORMAT = 2
"""Version of the folder's layout. A layout that older releases cannot read gets another number."""

STYLE_DIMENSION = 768

PIXEL_BYTES: Mapping[str, PixelBytes] = {
    "f32": PixelBytes(one_pass=416, tiled=300),
    "bf16": PixelBytes(one_pass=216, tiled=150),
}
"""Bytes for each pixel, measured with OpenVINO on the graph with random weights. bf16 in tiles is half of f32
(estimate)."""

F32_DB = 80.0
"""Minimum PSNR in dB of the converted model in f32 against the SavedModel in TensorFlow."""

BF16_DB = 35.0
"""Minimum PSNR in dB of bf16 against the SavedModel. Below this `--precision auto` uses f32."""

INT8_DB = 30.0
"""Minimum PSNR in dB of an int8 transformer against f32. At 30 dB the root mean square error is 8 levels of
255; the lite edition's int8 graph as Google ships it is at 25 dB.
"""


@dataclass(frozen=True)
class Manifest:
    """The contents of a converted folder and how they were made. It is written last.

    Args:
        sources: Name -> sha256 of every file of the SavedModel.
        verified: True if they are the published files.
        versions: Versions of the packages that converted the model.
        sizes: Name -> bytes of every converted file.
        f32_db: PSNR in dB of f32 against the SavedModel in TensorFlow, for the worst picture; None before the check.
        bf16_db: The same for bf16; None also if the converting CPU cannot compute in bf16.
        format: Version of the folder's layout, as in `FORMAT`.
        int8_db: PSNR in dB of the int8 transformer against f32, for the worst held-out pair; None if there is no int8
            transformer.
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
        """Return the SHA-256 over the hashes of the sources."""
        return hashlib.sha256("".join(self.sources[name] for name in sorted(self.sources)).encode()).hexdigest()

    @property
    def bf16(self) -> bool:
        """Return True if bf16 passed its check."""
        return self.bf16_db is not None and self.bf16_db >= BF16_DB

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder. A reader sees the old manifest or the new one, never a part."""
        path = folder / MANIFEST
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        sync(unfinished)
        unfinished.replace(path)
        sync(folder)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        WeightsError: The folder has no converted model, or the model is incomplete.
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
    """Return the converted model in a folder.

    Raises:
        WeightsError: The folder has no converted model, or the model is incomplete.
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
    """Return the command that makes a folder."""
    return "python -m stylewire_server fetch" + ("" if folder.name == FOLDER else f" --to {folder}")
