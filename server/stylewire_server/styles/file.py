"""A named style as the bytes of one file: a zip archive that any tool opens, with a CRC over each part.

Three parts: `style.json` (format, model, weights_sha256, origin_sha256, create_time), `vector.f32` (little-endian
floats) and `thumbnail.jpg`. The style's name is the file's, so that a file can be copied under another.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from .vectors import Edition

FORMAT = 1

# Not .npy: its header is parsed by `ast`, which now and then fails in CPython 3.11 when several threads parse.
_FLOATS = np.dtype("<f4")


_MOST_OF_A_THUMBNAIL = 64 * 1024
"""Bytes; those made here have some 6 kB, and a page of a list has up to a thousand."""

_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the parts of a damaged file raise."""


class DamagedFile(Exception):
    """The bytes are not a whole style file; the message says what is wrong."""


@dataclass(frozen=True)
class KeptStyle:
    """A style kept under a name.

    Args:
        name: See `store.NAME`.
        vector: Style vector, float32 [D].
        thumbnail: A small JPEG file to recognise it by.
        origin_sha256: Of what it was made from, see `styles.fingerprint` and `styles.fingerprint_of_blend`.
        edition: Of the network whose predictor made the vector; no other one can use it.
        create_time: With its time zone.
    """

    name: str
    vector: np.ndarray
    thumbnail: bytes
    origin_sha256: str
    edition: Edition
    create_time: datetime


def dump(style: KeptStyle) -> bytes:
    """The file of a style."""
    facts = {
        "format": FORMAT,
        "model": style.edition.name,
        "weights_sha256": style.edition.weights_sha256,
        "origin_sha256": style.origin_sha256,
        "create_time": style.create_time.isoformat(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("style.json", json.dumps(facts, indent=1))
        archive.writestr("vector.f32", style.vector.astype(_FLOATS).tobytes())
        archive.writestr("thumbnail.jpg", style.thumbnail)
    return out.getvalue()


def parse(name: str, data: bytes) -> KeptStyle:
    """The style in a file of that name.

    Raises:
        DamagedFile: It is cut short, altered, or of a format that is not known here.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise DamagedFile("a part of it is said to be compressed; none is")
            facts = json.loads(archive.read("style.json"))
            if facts["format"] != FORMAT:
                raise DamagedFile(f"its format is {facts['format']}; this version reads format {FORMAT}")
            return KeptStyle(
                name=name,
                vector=_vector(archive.read("vector.f32")),
                thumbnail=_thumbnail(archive.read("thumbnail.jpg")),
                origin_sha256=_text(facts["origin_sha256"]),
                edition=Edition(_text(facts["model"]), _text(facts["weights_sha256"])),
                create_time=datetime.fromisoformat(facts["create_time"]).astimezone(UTC),
            )
    except _UNREADABLE as error:
        raise DamagedFile(f"{len(data):,} bytes that do not read: {error}") from None


def _text(value: object) -> str:
    """A fact that can be told in a message: json reads halves of surrogate pairs, which no encoding takes."""
    str(value).encode()
    return str(value)


def _thumbnail(data: bytes) -> bytes:
    if len(data) > _MOST_OF_A_THUMBNAIL:
        raise ValueError(f"its thumbnail has {len(data):,} bytes; the limit is {_MOST_OF_A_THUMBNAIL:,} bytes")
    return data


def _vector(data: bytes) -> np.ndarray:
    vector = np.frombuffer(data, _FLOATS).astype(np.float32)
    if not vector.size or not np.isfinite(vector).all():
        raise ValueError(f"its vector of {vector.size} numbers is empty or not finite")
    return vector
