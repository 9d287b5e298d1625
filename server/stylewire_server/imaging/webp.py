"""WebP files (RFC 9649): the header and the metadata."""

import io
import struct

from .file import DamagedFile, Encoding, PictureFile, UnsupportedFile

MAX_CHUNKS = 10_000
"""Maximum chunks that are searched for a profile and EXIF data."""

_LOSSY_START = b"\x9d\x01\x2a"


def read(data: bytes) -> PictureFile:
    """Read the header of a WebP file. An animation counts as its first frame.

    Raises:
        DamagedFile: The file has no usable header.
        UnsupportedFile: The file has too many chunks.
    """
    size = _size(data)
    if size is None:
        raise DamagedFile("no header")
    extra = _metadata(data) if data[12:16] == b"VP8X" else {}
    return PictureFile(
        encoding=Encoding.WEBP,
        size=size,
        open=lambda: io.BytesIO(data),
        bytes_per_pixel=16,
        profile=extra.get(b"ICCP"),
        exif=extra.get(b"EXIF"),
    )


def _size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    try:
        if kind == b"VP8X":
            width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
            return (width, height) if len(data) >= 30 else None
        if kind == b"VP8L" and data[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        if kind == b"VP8 " and data[23:26] == _LOSSY_START:
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    except (struct.error, IndexError):
        pass
    return None


def _metadata(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    place = 12
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(data):
            return found
        name, length = struct.unpack_from("<4sI", data, place)
        if name in {b"ICCP", b"EXIF"} and name not in found:
            found[name] = data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    raise UnsupportedFile(f"is a WebP file of more than {MAX_CHUNKS:,} chunks, which is the limit")
