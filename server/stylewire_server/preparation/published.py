"""The published full model: its addresses and the hashes of its files.

TF Hub google/magenta/arbitrary-image-stylization-v1-256/2, on Kaggle since 2023 under another name; Apache-2.0.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

HANDLE = "https://tfhub.dev/google/magenta/arbitrary-image-stylization-v1-256/2"
KAGGLE_PAGE = "https://www.kaggle.com/models/google/arbitrary-image-stylization-v1/tensorFlow1/256/2"

FILES: Mapping[str, str] = {
    "saved_model.pb": "sha256:9c061b2fe4c9277d35adea3a2a620522e2d0b9685109f0e06fe8454b0be70a62",
    "variables/variables.index": "sha256:ac7a95d72e0ebab3ff54ad58951ed00d3d0ba8b9e785c7b04af10f99caf1b150",
    "variables/variables.data-00000-of-00002": "blob:f9e4e691c6e69a81f92cc50a3a86015db38a7b9d",
    "variables/variables.data-00001-of-00002": (
        "sha256:a8970e355138697029fe71aca1cefe5f3ded143330ba1a9cf0b64d939238e3e3"
    ),
}
"""File -> its expected hash: the sha256, or the blob id of git, sha1("blob " + size + NUL + content)."""

BYTES = 94_200_000
"""Approximate bytes of all files together, for progress bars."""


def differences(folder: Path, files: Mapping[str, str] = FILES) -> list[str]:
    """Return one line for every file of the published model that is missing in a folder or has another hash."""
    lines = []
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            lines.append(f"{name} is missing")
            continue
        kind, _, digest = expected.partition(":")
        found = _blob_id(path) if kind == "blob" else sha256(path)
        if found != digest:
            lines.append(f"{name} has {kind} {found}, expected {digest}")
    return lines


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blob_id(path: Path) -> str:
    # SHA-1 is enough here. Another file with this hash would be a second preimage, which nobody can compute; the known
    # attacks only find collisions.
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
