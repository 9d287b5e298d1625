"""HDR pictures, against what Chromium 156 draws on a canvas of sRGB."""

import struct
import zlib

import numpy as np
import pytest
from stylewire_server.imaging.codec import load
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits

COLORS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 100, 50), (100,) * 3, (150,) * 3, (200,) * 3, (120, 30, 30)]

SHOWN = {
    # Primaries and transfer characteristics by their codes: BT.2020 or BT.709, PQ or HLG.
    (9, 16): [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 0), (76,) * 3, (193,) * 3, (255,) * 3, (144, 0, 0)],
    (9, 18): [(229, 0, 0), (0, 208, 0), (0, 0, 168), (230, 48, 17), (75,) * 3, (122,) * 3, (202,) * 3, (104, 0, 13)],
    (1, 16): [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 51, 8), (76,) * 3, (193,) * 3, (255,) * 3, (114, 4, 4)],
}

GRAY = {
    16: [0, 1, 4, 13, 26, 42, 61, 85, 114, 150, 193, 221, 242, 255, 255, 255, 255, 255],
    18: [0, 2, 13, 26, 39, 52, 66, 79, 92, 106, 122, 142, 166, 194, 214, 229, 243, 255],
}
"""Transfer characteristics -> what gray of 0, 15, 30, ... 255 becomes."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def shown(colors: np.ndarray, primaries: int, transfer: int) -> np.ndarray:
    """One row of colors [N,3] as a PNG file of 70 such rows, decoded; [N,3]."""
    rows = np.pad(np.broadcast_to(colors.reshape(-1), (70, colors.size)), ((0, 0), (1, 0))).astype(np.uint8)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", len(colors), 70, 8, 2, 0, 0, 0))
    data += chunk(b"cICP", bytes([primaries, transfer, 0, 1]))
    data += chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    pixels = load(data, Fit.NATIVE, ImageLimits(min_side=1), "content").pixels
    assert (pixels == pixels[0]).all()
    return pixels[0].astype(int)


@pytest.mark.parametrize("codes", SHOWN)
def test_colors_are_those_of_chromium(codes: tuple[int, int]) -> None:
    assert np.abs(shown(np.array(COLORS), *codes) - SHOWN[codes]).max() <= 1


@pytest.mark.parametrize("transfer", GRAY)
@pytest.mark.parametrize("primaries", [1, 9, 12])
def test_gray_is_that_of_chromium(primaries: int, transfer: int) -> None:
    ramp = np.repeat(np.arange(0, 256, 15)[:, np.newaxis], 3, 1)
    assert np.abs(shown(ramp, primaries, transfer) - np.array(GRAY[transfer])[:, np.newaxis]).max() <= 1
