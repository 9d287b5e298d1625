"""Getting the full model: found, verified, converted, held against the original, put in place at once or not at all."""

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
    """The full model in the form that is served. Does nothing where that very model is in place.

    A process that is killed leaves at most a folder with a temporary name, which the next one removes.

    Args:
        cache: Where the converted model goes, as `full`.
        target: Goes there instead.
        handle: What to download: a URL, or the short name of a model on TF Hub or Kaggle.
        source: The user's own copy instead: a folder or an archive.
        allow_unverified: Take files that are not the published ones; the manifest says so.
        published: What the published files are, as in `published.FILES`.
        progress: Is told what is being done.

    Returns:
        The converted folder.

    Raises:
        WeightsError: It cannot be had, is not the published model, or does not convert faithfully.
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
    """Converts into folder, holds the result against the source, and writes the manifest.

    Raises:
        WeightsError: It is another network, or the result is too far from the source.
    """
    progress("converting", 0.0)
    with require_extra("fetching", "full"):
        # Here, because nothing else in the server needs tensorflow.
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
    """Moves folder to target; what was there goes to replaced. Between the two there is nothing, never a half."""
    for path in [*folder.iterdir(), folder]:
        sync(path)
    if target.exists():
        target.rename(replaced)
    folder.rename(target)
    sync(target.parent)


def _probe(seed: int) -> np.ndarray:
    """A picture [1,256,256,3] in 0..1 with large shapes, small ones and noise, as photographs have."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((STYLE_SIDE, STYLE_SIDE, 3))
    for side in (4, 16, 64, 256):
        step = STYLE_SIDE // side
        picture += rng.random((side, side, 3)).repeat(step, 0).repeat(step, 1) * step
    return (picture / picture.max()).astype(np.float32)[np.newaxis]


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pixels in 0..1, dB; equal pictures are at 200."""
    error = float(np.mean(np.square(picture.astype(np.float64) - reference)))
    return float(-10 * np.log10(max(error, 1e-20)))
