"""Compiled graphs kept between starts: OpenVINO's model cache, with a checksum for every file.

OpenVINO refuses a file that is cut short. But it runs a file that is damaged in the middle, and then computes wrong
pictures.
"""

import hashlib
import json
import os
from pathlib import Path

from .base import EngineError

_SUMS = "sha256.json"


def prune(folder: Path) -> None:
    """Make the folder, and remove every graph from it that has changed since `seal`.

    Raises:
        EngineError: The folder cannot be made, read or cleared.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sums = _sealed(folder)
        for path in _graphs(folder):
            if sums.get(path.name) != _sha256(path):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from None


def seal(folder: Path) -> None:
    """Write the checksums of all graphs that are in the folder now.

    Raises:
        EngineError: The folder cannot be written.
    """
    try:
        sums = {path.name: found for path in _graphs(folder) if (found := _sha256(path))}
        if sums != _sealed(folder):
            temporary = folder / f".{_SUMS}.{os.getpid()}"
            temporary.write_text(json.dumps(sums, indent=1))
            temporary.replace(folder / _SUMS)
    except OSError as error:
        raise _unusable(folder, error) from None


def _sealed(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / _SUMS).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _graphs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.blob"))


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file; empty if another process has removed the file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _unusable(folder: Path, error: OSError) -> EngineError:
    return EngineError(f"cannot keep compiled graphs in {folder}: {error.strerror}")
