"""Locations of pictures: paths, and URLs such as `s3://bucket/photos` (extra `remote`).

A URL is a `upath.UPath`, which has the methods of `pathlib.Path` over any file system of fsspec.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StylewireError
from .shared import UsageError, is_remote, write_file


def location(text: str) -> Path:
    """Return the path, or the object that reads and writes at the URL.

    Raises:
        UsageError: A package for the URL is missing, or nothing reads URLs of its kind.
    """
    if "://" not in text:
        return Path(text)
    try:
        from upath import UPath
    except ImportError:
        raise UsageError(f"{text} needs the extra `remote`: pip install 'stylewire[remote]'") from None
    try:
        return UPath(text)  # type: ignore[return-value]
    except (ImportError, ValueError) as error:
        raise UsageError(f"{text}: {error}") from None


def files_within(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every file below a folder that is not hidden, and its path in the folder.

    Raises:
        OSError: A folder cannot be read.
    """
    if is_remote(folder):
        # One listing of fsspec, which has only files; `rglob` would ask for the kind of each.
        found_there = folder.fs.find(folder.path)  # type: ignore[attr-defined]
        for path in sorted(found_there):
            inside = Path(path.removeprefix(folder.path.rstrip("/")).lstrip("/"))  # type: ignore[attr-defined]
            if not any(part.startswith(".") for part in inside.parts):
                yield folder / inside.as_posix(), inside
        return

    def fail(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    yield from ((path, path.relative_to(folder)) for path in sorted(found))


def write(place: Path, data: bytes) -> None:
    """Write a file whole. Folders are made, except behind a URL: an object store has none."""
    if not is_remote(place):
        write_file(place, data)
        return
    with remote_errors(place):
        place.write_bytes(data)


@contextmanager
def remote_errors(*places: Path) -> Iterator[None]:
    """Turn the errors of a remote file system, which have no common type, into OSError."""
    try:
        yield
    except (OSError, StylewireError, UsageError):
        raise
    except Exception as error:
        remote = [str(place) for place in places if is_remote(place)]
        if not remote:
            raise
        raise OSError(f"{', '.join(remote)}: {error}") from error
