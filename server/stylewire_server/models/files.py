"""Folders that are made under a temporary name and then moved in one step, by one process at a time."""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_STAGING = ".fetch-"
_LOCK = ".fetch.lock"


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, and remove it at the end. Folders that a killed process left are removed first.

    Only one process at a time has such a folder; others wait.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that works in %s", parent)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in parent.glob(f"{_STAGING}*"):
            if left.is_dir():
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_STAGING, dir=parent) as folder:
            yield Path(folder)


def sync(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
