"""JPEG files (ITU-T T.81): the header, and the file without its metadata.

Pillow reads all metadata when it opens a file, EXIF values in Python. So it gets a file without metadata.
"""

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from .file import DamagedFile, Encoding, PictureFile, UnsupportedFile
from .profiles import MAX_PROFILE_BYTES

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 64
"""Maximum scans of a progressive file. Cameras and editors write about ten. Each scan passes over the whole picture
again, and an empty scan takes 75 bytes of a file and milliseconds of a core."""

MAX_SCANNED_PIXELS = 400_000_000
"""Maximum pixels times scans. An empty scan takes about 0.5 ns a pixel."""

MAX_SEGMENTS = 10_000
"""Maximum segments before the pixels. A profile takes up to 255 segments; an empty segment takes 4 bytes."""

_SCAN = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c\x0e][\x00-\x04]")
"""The head of a scan: SOS, its length 6 + 2n, the number n of its components (B.2.3)."""

_MARKER = re.compile(rb"\xff+[^\xff]")
"""A marker, after any number of fill bytes (B.1.1.2)."""

_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
"""Markers without a length: a stuffed byte, TEM, restarts and a second start of image."""

_FRAMES = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC9, 0xCA), ""),
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical"),
    0xF7: "JPEG-LS",
}
"""Start-of-frame markers (table B.1), and the kind of file that is not read."""

_SEQUENTIAL = frozenset({0xC0, 0xC1})
_START_OF_SCAN, _END = 0xDA, 0xD9
_EXIF, _PROFILE = b"Exif\0\0", b"ICC_PROFILE\0"
_COLOR_SEGMENTS = {0xE0: b"JFIF\0", 0xEE: b"Adobe"}
"""Application segments that state the color space of the components."""


@dataclass
class _Segments:
    kept: list[bytes] = field(default_factory=list)
    frame: tuple[int, bytes] | None = None
    exif: list[bytes] = field(default_factory=list)
    profile: list[bytes] = field(default_factory=list)
    pixels: int = 0


def read(data: bytes) -> PictureFile:
    """Read the header of a JPEG file. A file with several pictures (MPO) counts as its first picture.

    Raises:
        DamagedFile: The file has no usable header.
        UnsupportedFile: The file is of a kind that is not read, or has too many scans.
    """
    found = _segments(data)
    if found.frame is None or len(found.frame[1]) < 6:
        raise DamagedFile("no header")
    marker, frame = found.frame
    bits, height, width, components = struct.unpack_from(">BHHB", frame)
    if _FRAMES[marker]:
        raise UnsupportedFile(f"is a {_FRAMES[marker]} JPEG file, which is not supported; save it as a usual JPEG file")
    if bits != 8:
        raise UnsupportedFile(f"is a JPEG file of {bits} bits a channel; only 8 bits are supported")
    # A height of 0 means that it follows the first scan (B.2.5). Pillow cannot read such files.
    if not (width and height):
        raise DamagedFile("no size")
    _check_scans(data, found.pixels, width * height)
    unended = data.rfind(b"\xff\xd9", found.pixels) < 0
    if unended and not _has_all_scans(data, found.pixels, components):
        raise DamagedFile("the file ends before its scans")
    one_scan = data[found.pixels + 4 : found.pixels + 5] == bytes([components])
    return PictureFile(
        encoding=Encoding.JPEG,
        size=(width, height),
        open=_opener(found, data, data[found.pixels :]),
        # Other kinds need all coefficients in memory before the first pixel.
        whole=marker not in _SEQUENTIAL or not one_scan,
        bytes_per_pixel=8,
        profile=_profile(found.profile),
        exif=b"".join(found.exif) or None,
        gray=components == 1,
        unended=unended,
    )


def _opener(found: _Segments, data: bytes, pixels: bytes) -> Callable[[], io.BytesIO]:
    return lambda: io.BytesIO(b"".join([b"\xff\xd8", *found.kept, pixels]))


def stream(data: bytes) -> io.BytesIO:
    """Return a file for Pillow."""
    return io.BytesIO(data)


def _segments(data: bytes) -> _Segments:
    found = _Segments()
    place = 2
    for _ in range(MAX_SEGMENTS):
        head = _MARKER.search(data, place)
        if head is None or head.end() + 2 > len(data):
            raise DamagedFile("no pixels")
        marker, place = data[head.end() - 1], head.end()
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == _START_OF_SCAN:
            found.pixels = place - 2
            return found
        if marker == _END:
            raise DamagedFile("no pixels")
        end = place + int.from_bytes(data[place : place + 2], "big")
        _add(found, marker, data[place - 2 : end])
        place = max(end, place + 2)
    raise UnsupportedFile(f"is a JPEG file of more than {MAX_SEGMENTS:,} segments, which is the limit")


def _add(found: _Segments, marker: int, segment: bytes) -> None:
    body = segment[4:]
    if marker == 0xE1 and body.startswith(_EXIF):
        # A profile above 64 kB continues in further segments.
        found.exif.append(body[len(_EXIF) :] if found.exif else body)
    elif marker == 0xE2 and body.startswith(_PROFILE):
        found.profile.append(body[len(_PROFILE) :])
    elif 0xE0 <= marker <= 0xEF or marker == 0xFE:
        if body.startswith(_COLOR_SEGMENTS.get(marker, b"\0no such\0")):
            found.kept.append(segment)
    else:
        if marker in _FRAMES and found.frame is None:
            found.frame = (marker, body)
        found.kept.append(segment)


def _profile(parts: list[bytes]) -> bytes | None:
    """Return the profile from its parts. Each begins with its number, from 1, and their count (ICC.1:2022, B.4)."""
    ordered = {part[0]: part[2:] for part in parts if len(part) > 2}
    if not ordered or sorted(ordered) != list(range(1, parts[0][1] + 1)):
        return None
    if sum(map(len, ordered.values())) > MAX_PROFILE_BYTES:
        return None
    return b"".join(ordered[number] for number in sorted(ordered))


def _check_scans(data: bytes, start: int, pixels: int) -> None:
    """Raise UnsupportedFile for too many scans, those of further pictures in the file included.

    Scans are counted anywhere in the file. A reader that follows the lengths of segments may miss a scan in a damaged
    file. A decoder looks for the next marker, and finds it.
    """
    limit = max(1, min(MAX_SCANS, MAX_SCANNED_PIXELS // pixels))
    if any(number > limit for number, _ in enumerate(_SCAN.finditer(data, start), 1)):
        at = "" if limit == MAX_SCANS else f" at {pixels / 1e6:,.1f} Mpx"
        raise UnsupportedFile(f"is a JPEG file of more than {limit} scans, which is the limit{at}")


def _has_all_scans(data: bytes, start: int, components: int) -> bool:
    """Return True if the scans bring every coefficient of every component to its last bit (G.1.1.1)."""
    complete: dict[int, set[int]] = {}
    for scan in _SCAN.finditer(data, start):
        count = data[scan.end() - 1]
        body = data[scan.end() : scan.end() + 2 * count + 3]
        if len(body) == 2 * count + 3 and body[-1] & 0x0F == 0:
            for component in body[: 2 * count : 2]:
                complete.setdefault(component, set()).update(range(body[-3], body[-2] + 1))
    return sum(len(coefficients) == 64 for coefficients in complete.values()) >= components


def endings(data: bytes) -> tuple[bytes, bytes]:
    """Return the file with an end marker, and the file with meaningless bits before an end marker.

    If all pixels are there, both decode to the same picture, because a decoder ignores what follows the last pixel. If
    some are missing, these bits become pixels.
    """
    return data + b"\xff\xd9", data + _NOISE + b"\xff\xd9"


_NOISE = bytes((37 * n + n * n * 11) % 255 for n in range(256))
"""Bytes without 0xff, which begins a marker."""
