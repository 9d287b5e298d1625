"""Style files: a named style as the bytes of one file.

A style file is an uncompressed zip archive with a checksum over each part: `style.json` (format, model, weights_sha256,
origin_sha256, create_time, origin, tuning), `vector.f32` (little-endian floats) and `thumbnail.jpg`. The style's name
is the name of the file, so that a file can be copied under another name.

Format 1 holds a style vector of D numbers. Format 2 holds a tuned style: a vector of D numbers and a tuning of P. A
server that does not know tuned styles refuses format 2, rather than paint the style untuned.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .vectors import Edition

FORMAT, TUNED_FORMAT = 1, 2

MAX_BYTES = 256 * 1024
"""Longest style file. A tuned style of the full edition has 45 kB of numbers, and a thumbnail."""

MAX_NUMBER = 1e4
"""Largest magnitude of a number in a style. Those of real styles are below 100; larger ones overflow on the way."""

# Not .npy: its header is parsed by `ast`, which now and then fails in CPython 3.11 when several threads parse.
_FLOATS = np.dtype("<f4")

_MAX_THUMBNAIL_BYTES = 64 * 1024
"""Thumbnails made here have some 6 kB, and a page of a list has up to a thousand of them."""

_MAX_ORIGIN = 200
"""Characters of the words that say where a style comes from."""

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
        vector: The style, float32: [D], or [D+P] if it is tuned.
        thumbnail: A small JPEG file to recognise it by.
        origin_sha256: Hash of what it was made from, see `vectors.fingerprint` and `vectors.fingerprint_of_blend`.
        edition: The network whose predictor made the vector; no other one can use it.
        create_time: With its time zone.
        tuned: Whether the vector has a tuning at its end.
        origin: Where the style comes from, in words; empty where unknown.
        tuning: How it was tuned: picture, photographs, steps, preset, costs before and after; None where unknown.
        built_in: Whether it belongs to the gallery; a file does not say this.
    """

    name: str
    vector: np.ndarray
    thumbnail: bytes
    origin_sha256: str
    edition: Edition
    create_time: datetime
    tuned: bool = False
    origin: str = ""
    tuning: Mapping[str, Any] | None = None
    built_in: bool = False


def tuned_origin(picture_sha256: str, vector: np.ndarray) -> str:
    """Return the origin hash of a tuned style: over the fingerprint of its picture and all its numbers."""
    return hashlib.sha256(picture_sha256.encode() + vector.astype(_FLOATS).tobytes()).hexdigest()


def dump(style: KeptStyle) -> bytes:
    """Return the file of a style."""
    facts: dict[str, Any] = {
        "format": TUNED_FORMAT if style.tuned else FORMAT,
        "model": style.edition.name,
        "weights_sha256": style.edition.weights_sha256,
        "origin_sha256": style.origin_sha256,
        "create_time": style.create_time.isoformat(),
    }
    if style.origin:
        facts["origin"] = style.origin
    if style.tuning is not None:
        facts["tuning"] = dict(style.tuning)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (
            ("style.json", json.dumps(facts, indent=1)),
            ("vector.f32", style.vector.astype(_FLOATS).tobytes()),
            ("thumbnail.jpg", style.thumbnail),
        ):
            # The zip format begins in 1980. With one date for all, equal styles have equal files.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


def parse(name: str, data: bytes) -> KeptStyle:
    """Return the style in a file of that name.

    The edition is not checked here: `Stylizer.read_style` refuses the style of another network.

    Raises:
        DamagedFile: It is too long, cut short, altered, or of a format that is not known here.
    """
    if len(data) > MAX_BYTES:
        raise DamagedFile(f"it has {len(data):,} bytes; the limit is {MAX_BYTES:,} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise DamagedFile("a part of it is said to be compressed; none is")
            facts = json.loads(archive.read("style.json"))
            if facts["format"] not in (FORMAT, TUNED_FORMAT):
                raise DamagedFile(
                    f"its format is {facts['format']}; this version reads formats {FORMAT} and {TUNED_FORMAT}"
                )
            return KeptStyle(
                name=name,
                vector=_vector(archive.read("vector.f32")),
                thumbnail=_thumbnail(archive.read("thumbnail.jpg")),
                origin_sha256=_text(facts["origin_sha256"]),
                edition=Edition(_text(facts["model"]), _text(facts["weights_sha256"])),
                create_time=datetime.fromisoformat(facts["create_time"]).astimezone(UTC),
                tuned=facts["format"] == TUNED_FORMAT,
                origin=_text(facts.get("origin", ""))[:_MAX_ORIGIN],
                tuning=_mapping(facts.get("tuning")),
            )
    except _UNREADABLE as error:
        raise DamagedFile(f"{len(data):,} bytes that do not read: {error}") from None


def _text(value: object) -> str:
    """Return a fact that a message can carry: json reads halves of surrogate pairs, which no encoding takes."""
    str(value).encode()
    return str(value)


def _mapping(value: object) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError("its tuning is not a mapping")
    return value


def _thumbnail(data: bytes) -> bytes:
    if len(data) > _MAX_THUMBNAIL_BYTES:
        raise ValueError(f"its thumbnail has {len(data):,} bytes; the limit is {_MAX_THUMBNAIL_BYTES:,} bytes")
    return data


def _vector(data: bytes) -> np.ndarray:
    vector = np.frombuffer(data, _FLOATS).astype(np.float32)
    if not vector.size or not np.isfinite(vector).all():
        raise ValueError(f"its vector of {vector.size} numbers is empty or not finite")
    if (largest := float(np.abs(vector).max())) > MAX_NUMBER:
        raise ValueError(f"its vector has a number of magnitude {largest:.3g}; the limit is {MAX_NUMBER:g}")
    return vector
