"""Compiled graphs kept between starts: OpenVINO's model cache, with a checksum for every file.

OpenVINO notices a file that is cut short, and runs one that is damaged in the middle, which makes other pictures.
"""

import hashlib
import json
import os
from pathlib import Path

from .base import EngineError

_SUMS = "sha256.json"


def prune(folder: Path) -> None:
    """Makes the folder, and removes from it every graph that is not as `seal` found it.

    Raises:
        EngineError: It cannot be made, read or cleared.
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
    """Notes the graphs that are in the folder now as sound.

    Raises:
        EngineError: It cannot be written.
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
    """Of a file; empty for one that another process has removed since."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _unusable(folder: Path, error: OSError) -> EngineError:
    return EngineError(f"cannot keep compiled graphs in {folder}: {error.strerror}")
