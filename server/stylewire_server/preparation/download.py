"""Sources of a SavedModel: TF Hub, Kaggle, a folder or an archive."""

import http.client
import logging
import os
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..models.network import WeightsError, require_extra
from .published import BYTES, KAGGLE_PAGE

log = logging.getLogger(__name__)

Progress = Callable[[str, float], None]
"""Function that gets the name of the current stage and its completed share, 0..1."""

_PARTS = re.compile(r"(?:^|/)(saved_model\.pb|variables/variables\.(?:index|data-\d{5}-of-\d{5}))$")
"""Pattern of the files of a SavedModel that are used. Only the matched part of a path in an archive is used."""

_KAGGLE = re.compile(r"[^/]+/[^/]+/tensorflow[12]/[^/]+/\d+", re.IGNORECASE)

_POLL_SECONDS = 0.2
"""Time between two reports of the progress."""


def resolve(handle: str, folder: Path, progress: Progress) -> Path:
    """Download a SavedModel with tensorflow_hub into TFHUB_CACHE_DIR; if that is not set, into `folder`.

    Args:
        handle: A URL, or the short name of a model on TF Hub or Kaggle.
        folder: A folder to write to.
        progress: Called with the share of the bytes that has arrived.

    Returns:
        The SavedModel's folder.

    Raises:
        WeightsError: The download failed; the message says how else to get the model.
    """
    with require_extra("fetching", "full"):
        import tensorflow_hub as hub
    cache = os.environ.get("TFHUB_CACHE_DIR")
    with _variable("TFHUB_CACHE_DIR", cache or str(folder)), _watch(Path(cache or folder), progress):
        try:
            return Path(hub.resolve(_url(handle)))
        except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
            raise WeightsError(
                f"cannot download {_url(handle)}: {str(error) or repr(error)}; on a machine that can, get the .tar.gz "
                f"from {KAGGLE_PAGE} and run: python -m stylewire_server fetch --from FILE"
            ) from None


def unpack(source: Path, folder: Path) -> Path:
    """Return a SavedModel from a folder or .tar.gz file of the user.

    Args:
        source: The SavedModel's folder, a folder that contains it, or an archive of either.
        folder: A folder to unpack to.

    Returns:
        The SavedModel's folder.

    Raises:
        WeightsError: The source has no SavedModel.
    """
    if source.is_dir():
        found = sorted(source.rglob("saved_model.pb"), key=lambda path: len(path.parts))
        if not found:
            raise WeightsError(f"{source} holds no saved_model.pb")
        return found[0].parent
    try:
        with tarfile.open(source) as archive:
            names = [_extract(archive, member, folder) for member in archive]
    except FileNotFoundError:
        raise WeightsError(f"{source} does not exist") from None
    except (OSError, EOFError, tarfile.TarError) as error:
        raise WeightsError(f"{source} cannot be unpacked: {error}") from None
    if "saved_model.pb" not in names:
        raise WeightsError(f"{source} holds no saved_model.pb")
    return folder


def parts(folder: Path) -> list[str]:
    """Return the sorted names of the files in a SavedModel's folder that are used."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if _PARTS.fullmatch(name))


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str | None:
    match = _PARTS.search(member.name)
    content = archive.extractfile(member) if match and member.isreg() else None
    if match is None or content is None:
        return None
    name = match[1]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file)
    return name


def _url(handle: str) -> str:
    if "://" in handle:
        return handle
    return f"https://www.kaggle.com/models/{handle}" if _KAGGLE.fullmatch(handle) else f"https://tfhub.dev/{handle}"


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _watch(folder: Path, progress: Progress) -> Iterator[None]:
    """Report the share that has arrived in a folder.

    Tensorflow_hub unpacks there during the download, without reports.
    """
    done = threading.Event()
    before = _bytes(folder)

    def poll() -> None:
        while not done.wait(_POLL_SECONDS):
            progress("downloading", min((_bytes(folder) - before) / BYTES, 1.0))

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            # tensorflow_hub has just renamed or removed this file.
            continue
    return total
