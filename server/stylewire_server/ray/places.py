"""The places that a batch job reads from and writes to: names of pictures and results, and atomic writing."""

import posixpath
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
from fsspec.core import url_to_fs

from ..imaging.codec import Encoding

UNFINISHED = ".unfinished"
"""Folder in the output with files that are being written. It is removed at the end of a job."""

ENCODINGS = {
    ".jpg": Encoding.JPEG,
    ".jpeg": Encoding.JPEG,
    ".jfif": Encoding.JPEG,
    ".png": Encoding.PNG,
    ".webp": Encoding.WEBP,
    ".avif": Encoding.AVIF,
}
"""Suffix of a picture's name -> default encoding of its result; PNG for other suffixes."""

_SUFFIXES = {Encoding.JPEG: ".jpg", Encoding.PNG: ".png", Encoding.WEBP: ".webp", Encoding.AVIF: ".avif"}


def is_parquet(source: str) -> bool:
    """Return True if a source is a parquet data set."""
    if re.search(r"\.parquet/?$", source):
        return True
    fs, root = url_to_fs(source)
    if not fs.isdir(root):
        return False
    names = [posixpath.basename(path) for path in fs.ls(root, detail=False)]
    visible = [name for name in names if not name.startswith((".", "_"))]
    return bool(visible) and all(name.endswith(".parquet") for name in visible)


def list_pictures(source: str, target: str, encoding: Encoding | None) -> dict[str, str]:
    """Return unique name of each result -> URL of its picture.

    Raises:
        OSError: The source has no picture.
        ValueError: The target is the folder of the pictures.
    """
    fs, root = url_to_fs(source)
    if any(sign in root for sign in "*?["):
        paths = [path for path in fs.glob(root) if fs.isfile(path)]
        base = re.split(r"[*?\[]", root)[0].rpartition("/")[0]
    elif fs.isdir(root):
        paths, base = fs.find(root), root.rstrip("/")
    else:
        fs.info(root)
        paths, base = [root], root.rpartition("/")[0]
    own, below = url_to_fs(target)
    inside = below.rstrip("/") + "/" if type(own) is type(fs) else None
    if inside == base + "/":
        raise ValueError(f"{target} is the folder of the pictures; results need another one")
    found = [
        (path.removeprefix(base).lstrip("/"), path)
        for path in sorted(paths)
        if not (inside and path.startswith(inside)) and not posixpath.basename(path).startswith(".")
    ]
    if not found:
        raise FileNotFoundError(f"{source} holds no files")
    wanted = Counter(_result_name(name, encoding) for name, _ in found)
    results = {}
    for name, path in found:
        result = _result_name(name, encoding)
        # cat.jpg and cat.png as JPEG would both be cat.jpg.
        result = result if wanted[result] == 1 else name + posixpath.splitext(result)[1]
        results[result] = fs.unstrip_protocol(path)
    return results


def _result_name(name: str, encoding: Encoding | None) -> str:
    stem, suffix = posixpath.splitext(name)
    if encoding is not None:
        return stem + _SUFFIXES[encoding]
    return name if suffix.lower() in ENCODINGS else f"{name}.png"


def name_of_row(path: str, encoding: Encoding | None) -> str:
    """Return the name of the result for a row of a data set. The name never leads out of the target."""
    name = posixpath.normpath(path.partition("://")[2] or path).lstrip("/")
    if not path or name.startswith("..") or name == ".":
        raise ValueError(f"{path!r} is not the path of a picture; a row has it in the column path")
    return _result_name(name, encoding)


def existing(target: str) -> set[str]:
    """Return the files below a folder; none if the folder does not exist yet."""
    fs, root = url_to_fs(target)
    root = root.rstrip("/")
    if not fs.exists(root):
        return set()
    if not fs.isdir(root):
        raise NotADirectoryError(f"{target} is a file; results need a folder")
    return {path.removeprefix(root).lstrip("/") for path in fs.find(root)}


def writer(target: str) -> Callable[[str, bytes], None]:
    """Return a function that writes a file below a folder atomically."""
    fs, root = url_to_fs(target)

    def write(name: str, data: bytes) -> None:
        path = f"{root.rstrip('/')}/{name}"
        if not _is_local(fs):
            # An object appears when it is complete.
            fs.pipe_file(path, data)
            return
        temporary = Path(root, UNFINISHED, uuid4().hex)
        for folder in (temporary.parent, Path(path).parent):
            folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)

    return write


def remove_unfinished(target: str) -> None:
    """Remove what killed processes, of this job and of earlier ones, had begun to write."""
    fs, root = url_to_fs(target)
    if _is_local(fs):
        shutil.rmtree(Path(root, UNFINISHED), ignore_errors=True)


def _is_local(fs: fsspec.AbstractFileSystem) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
