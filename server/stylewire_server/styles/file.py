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
"""Maximum bytes of a style file. A tuned style of the full edition has 45 kB of numbers, and a thumbnail."""

MAX_NUMBER = 1e4
"""Maximum magnitude of a number in a style. Real styles stay below 100; much larger numbers overflow in the network."""

# Not .npy: its header is parsed by `ast`, which now and then fails in CPython 3.11 when several threads parse.
_FLOATS = np.dtype("<f4")

_MAX_THUMBNAIL_BYTES = 64 * 1024
"""Maximum bytes of a thumbnail. Thumbnails made here have about 6 kB, and a page of a list has up to 1,000 of them."""

_MAX_ORIGIN = 200
"""Maximum characters of a style's `origin`."""

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
"""Errors that reading a damaged file can raise."""


class DamagedFile(Exception):
    """The bytes are not a whole style file; the message says what is wrong."""


@dataclass(frozen=True)
class KeptStyle:
    """A style kept under a name.

    Args:
        name: Name of the style, as in `store.NAME`.
        vector: The style, float32: [D], or [D+P] if it is tuned.
        thumbnail: A small preview of the style, a JPEG file.
        origin_sha256: Hash of the pictures that the style was made from, by `vectors.fingerprint` or
            `vectors.fingerprint_of_blend`.
        edition: The network whose predictor made the vector. No other network can use the style.
        create_time: Time of creation, with its time zone.
        tuned: True if the vector ends with a tuning.
        origin: Where the style comes from, in words; empty if unknown.
        tuning: Facts on the tuning: picture, photographs, steps, preset, costs before and after; None if unknown.
        built_in: True for a style of the gallery. A file does not have this fact.
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
    """Return the origin hash of a tuned style, over the fingerprint of its picture and all its numbers."""
    return hashlib.sha256(picture_sha256.encode() + vector.astype(_FLOATS).tobytes()).hexdigest()


def dump(style: KeptStyle) -> bytes:
    """Return a style as the bytes of a style file."""
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
        DamagedFile: The file is too long, cut short or altered, or its format is not known.
    """
    if len(data) > MAX_BYTES:
        raise DamagedFile(f"it has {len(data):,} bytes; the limit is {MAX_BYTES:,} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise DamagedFile("a part of it is compressed; the parts of a style file are not")
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
        raise DamagedFile(f"{len(data):,} bytes that cannot be read: {error}") from None


def _text(value: object) -> str:
    """Return a fact as a text; raise UnicodeEncodeError for half of a surrogate pair, which no message can carry."""
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
