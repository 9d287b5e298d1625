"""PNG files: Pillow reads what was written."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from stylewire_server.imaging import png


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (16, 17), (255, 256), (2048, 2048)])
def test_pillow_reads_the_same_pixels(height: int, width: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(png.write(pixels))) as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (width, height))
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_rows_that_are_part_of_a_larger_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)[3:9, 5:20]
    with Image.open(io.BytesIO(png.write(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_every_chunk_has_its_checksum() -> None:
    """The reference is zlib's checksum over the kind of the chunk and its data."""
    data = png.write(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    place, kinds = 8, []
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        assert struct.unpack_from(">I", data, end) == (zlib.crc32(data[place + 4 : end]),)
        kinds.append(data[place + 4 : place + 8])
        place = end + 4
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_size_is_near_that_of_pillow(photo) -> None:
    with Image.open(photo) as image:
        rgb = image.convert("RGB").resize((256, 256))
    pillow = io.BytesIO()
    rgb.save(pillow, "PNG")
    assert len(png.write(np.asarray(rgb))) < 1.1 * len(pillow.getvalue())
