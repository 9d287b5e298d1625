"""Fetching the full model: download, verify, convert, compare with the original, and put in place in one step."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino as ov

from ..engine.openvino import OpenVinoEngine, computes_bf16
from ..models.files import staging, sync
from ..models.full import BOTH, F32_DB, FOLDER, Manifest, as_network, read_manifest
from ..models.network import STYLE_SIDE, WeightsError, require_extra
from .download import Progress, parts, resolve, unpack
from .published import FILES, HANDLE, differences, sha256

_PROBES = 3
"""Number of picture pairs on which the converted model is compared with the original."""


def fetch(
    cache: Path,
    *,
    target: Path | None = None,
    handle: str = HANDLE,
    source: Path | None = None,
    allow_unverified: bool = False,
    published: Mapping[str, str] = FILES,
    progress: Progress = lambda stage, share: None,
) -> Path:
    """Fetch the full model, convert it to the form that is served, and return its folder.

    If the same model is in place already, this does nothing. A process that is killed leaves at most a folder with a
    temporary name, which the next call removes.

    Args:
        cache: Parent of the folder `full`, the default for the converted model.
        target: Another folder for the converted model; None for the default.
        handle: The model to download: a URL, or its short name on TF Hub or Kaggle.
        source: The user's own copy, a folder or an archive; None to download.
        allow_unverified: True to accept files that are not the published files. The manifest records this.
        published: Hashes of the published files, as in `published.FILES`.
        progress: Called with each stage and the share of it that is done.

    Returns:
        The converted folder.

    Raises:
        WeightsError: The model cannot be fetched, is not the published model, or differs too much after conversion.
    """
    target = target or cache / FOLDER
    with staging(target.parent) as scratch:
        raw, converted = scratch / "raw", scratch / "converted"
        raw.mkdir()
        converted.mkdir()
        model = unpack(source, raw) if source else resolve(handle, raw, progress)
        progress("verifying", 0.0)
        wrong = differences(model, published)
        if wrong and not allow_unverified:
            raise WeightsError(
                f"{source or handle} is not the published model: {'; '.join(wrong)}. "
                "--allow-unverified takes it all the same"
            )
        manifest = Manifest(
            sources={name: sha256(model / name) for name in parts(model)},
            verified=not wrong,
            versions=_versions(),
        )
        if not _is_in_place(target, manifest):
            _convert(model, converted, manifest, progress)
            _publish(converted, target, scratch / "replaced")
    progress("done", 1.0)
    return target


def _versions() -> dict[str, str]:
    with require_extra("fetching", "full"):
        return {name: version(name) for name in ("stylewire", "openvino", "tensorflow")}


def _is_in_place(target: Path, manifest: Manifest) -> bool:
    try:
        present = read_manifest(target)
    except WeightsError:
        return False
    return (present.sources, present.verified, present.versions) == (
        manifest.sources,
        manifest.verified,
        manifest.versions,
    )


def _convert(source: Path, folder: Path, manifest: Manifest, progress: Progress) -> None:
    """Convert a SavedModel into a folder, compare the result with the source, and write the manifest.

    Raises:
        WeightsError: The SavedModel is another network, or the result is too far from the source.
    """
    progress("converting", 0.0)
    with require_extra("fetching", "full"):
        # Imported here, because nothing else in the server needs tensorflow.
        from .savedmodel import SavedModel, convert
    reference = SavedModel(source)
    convert(reference, folder)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    manifest = replace(manifest, sizes=sizes)
    progress("checking", 0.0)
    probes = [(_probe(2 * index), _probe(2 * index + 1)) for index in range(_PROBES)]
    pictures = [reference(content, style) for content, style in probes]

    def worst(precision: str) -> float:
        network = replace(as_network(folder, manifest), bf16=BOTH)
        engine = OpenVinoEngine(network, precision)
        made = (engine.transform(content, engine.predict(style)) for content, style in probes)
        return min(psnr(one, other) for one, other in zip(made, pictures, strict=True))

    f32_db = worst("f32")
    if f32_db < F32_DB:
        raise WeightsError(
            f"the converted model is at {f32_db:.1f} dB PSNR to the SavedModel, the bound is {F32_DB:.0f} dB; "
            "please report this, with the versions of openvino and tensorflow"
        )
    bf16_db = worst("bf16") if computes_bf16(ov.Core()) else None
    replace(manifest, f32_db=f32_db, bf16_db=bf16_db).write(folder)


def _publish(folder: Path, target: Path, replaced: Path) -> None:
    """Move a folder to `target`, and an old folder there to `replaced`. A reader never sees an incomplete folder."""
    for path in [*folder.iterdir(), folder]:
        sync(path)
    if target.exists():
        target.rename(replaced)
    folder.rename(target)
    sync(target.parent)


def _probe(seed: int) -> np.ndarray:
    """Return a picture [1,256,256,3] in 0..1 with large shapes, small shapes and noise, like a photograph."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((STYLE_SIDE, STYLE_SIDE, 3))
    for side in (4, 16, 64, 256):
        step = STYLE_SIDE // side
        picture += rng.random((side, side, 3)).repeat(step, 0).repeat(step, 1) * step
    return (picture / picture.max()).astype(np.float32)[np.newaxis]


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of pixels in 0..1; for equal pictures 200."""
    error = float(np.mean(np.square(picture.astype(np.float64) - reference)))
    return float(-10 * np.log10(max(error, 1e-20)))
