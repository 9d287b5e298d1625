"""PNG files, written fast.

Pillow tries five filters on every row and deflates with zlib: 4.7 ms for a stylised picture of 256x256 px, which is all
texture and loses a fifth of its bytes in any case. One filter and ISA-L's deflate take 0.4 ms, for a file that is at
most some 5 % larger.
"""

import struct

import numpy as np
from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_UP = 2
"""The filter that stores each byte less the one above it; above the first row is 0."""

_LEVEL = 1
"""0 is as fast and a third larger, 2 slower and no smaller."""


def write(pixels: np.ndarray) -> bytes:
    """Pixels uint8 [H,W,3] as a PNG file, 8 bits a channel (W3C PNG, third edition, sections 5, 9 and 11)."""
    height, width = pixels.shape[:2]
    flat = pixels.reshape(height, -1)
    rows = np.empty((height, 1 + flat.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            _SIGNATURE,
            *_chunk(b"IHDR", head),
            *_chunk(b"IDAT", isal_zlib.compress(rows, _LEVEL)),
            *_chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))
