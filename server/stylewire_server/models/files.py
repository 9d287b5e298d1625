"""Folders that are made under a temporary name and put in place at once, by one process at a time."""

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
    """A new folder in parent, gone at the end. One process at a time has one; what a killed one left is removed."""
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
    """A file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
