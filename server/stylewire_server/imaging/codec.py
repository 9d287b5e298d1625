"""Encoded pictures to pixels and back, within limits. Pixels are uint8 [H,W,3] sRGB."""

import io
import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import ExifTags, Image

from ..errors import InvalidInput
from . import png
from .color import to_srgb
from .fit import Fit, Size, flip, plan_for, resize, resize_floats
from .limits import ImageLimits, above

log = logging.getLogger(__name__)

# The limit below is checked from the header, with a message of our own.
Image.MAX_IMAGE_PIXELS = None

_DECODERS = ("JPEG", "PNG", "WEBP")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Endings of the files that the server reads from a folder."""

_WHITE = (255, 255, 255, 255)

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright (Exif 2.32, table 6)."""

_TURNED = range(5, 9)
"""EXIF orientations that swap width and height."""


class Encoding(StrEnum):
    """The form of a picture on the wire."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    RAW_PIXELS = "RAW"
    RAW_FLOATS = "FLOATS"


_ENCODINGS = {
    "JPEG": Encoding.JPEG,
    # JPEG with further pictures behind it: depth, or the other eye.
    "MPO": Encoding.JPEG,
    "PNG": Encoding.PNG,
    "WEBP": Encoding.WEBP,
}
"""What Pillow calls a file -> what it is."""

_LONGEST_SIDES = {Encoding.JPEG: 65_500, Encoding.WEBP: 16_383}
"""Pixels, by libjpeg's and libwebp's own limits."""

_LARGE = 8_000_000
"""Pixels of a picture, as the decoder makes it, of which several at a time would be too much for a small machine."""

_one_large = threading.Lock()

_PLAIN = frozenset({"L", "RGB", "CMYK", "RGBA"})
"""Modes that need no conversion before they are brought to size."""

_SIGNATURES = {
    Encoding.JPEG: re.compile(rb"\xff\xd8\xff"),
    Encoding.PNG: re.compile(rb"\x89PNG\r\n\x1a\n"),
    Encoding.WEBP: re.compile(rb"RIFF....WEBP", re.DOTALL),
}


@dataclass(frozen=True)
class Picture:
    """Pixels [H,W,3], uint8 or, where they came as floats, float32, and the encoding that they came in."""

    pixels: np.ndarray
    encoding: Encoding


def load(source: bytes | np.ndarray, fit: Fit, limits: ImageLimits, field: str, side: int | None = None) -> Picture:
    """A picture as the network takes it.

    Args:
        source: A JPEG, PNG or WebP file, or pixels [H,W,3], uint8 or float32 in 0..1.
        fit: Which part of it, at which size.
        limits: What it may be.
        field: Its name in the request, for messages.
        side: Pixels, as for `plan_for`.

    Raises:
        InvalidInput: It cannot be decoded, or is outside the limits.
    """
    if isinstance(source, np.ndarray):
        size = (source.shape[1], source.shape[0])
        _check_size(size, limits, field)
        plan = plan_for(size, fit, limits, field, side)
        if source.dtype == np.float32:
            _check_levels(source, field)
            return Picture(resize_floats(source, plan), Encoding.RAW_FLOATS)
        if plan.target == size:
            return Picture(source, Encoding.RAW_PIXELS)
        return Picture(np.asarray(resize(Image.fromarray(source), plan)), Encoding.RAW_PIXELS)
    image, encoding = _open(source, limits, field)
    with _room_for(image):
        return Picture(_decode(image, encoding, len(source), fit, limits, field, side), encoding)


def sizes(
    source: bytes | np.ndarray, fit: Fit, limits: ImageLimits, field: str, side: int | None = None
) -> tuple[int, int]:
    """Pixels of the picture as it comes, and as `load` would bring it to the network, by its header; raises as `load`.

    Without the orientation: it changes no number of pixels, and Pillow decodes a whole PNG to look for it.
    """
    if isinstance(source, np.ndarray):
        size = (source.shape[1], source.shape[0])
    else:
        size = _open(source, limits, field)[0].size
    return math.prod(size), math.prod(plan_for(size, fit, limits, field, side).target)


def check_encoding(size: Size, encoding: Encoding) -> None:
    """Raises InvalidInput where a file of that encoding cannot hold a picture of that size."""
    limit = _LONGEST_SIDES.get(encoding)
    if limit is not None and max(size) > limit:
        raise InvalidInput(
            "content",
            f"the result is {size[0]}x{size[1]} px; a side of a {encoding} file is at most {limit:,} px; ask for PNG",
        )


def _decode(
    image: Image.Image,
    encoding: Encoding,
    length: int,
    fit: Fit,
    limits: ImageLimits,
    field: str,
    side: int | None,
) -> np.ndarray:
    """Pixels [H,W,3] of a file of that many bytes that `_open` has opened; raises as `load`."""
    orientation = _orientation(image)
    turned = orientation in _TURNED
    plan = plan_for(flip(image.size) if turned else image.size, fit, limits, field, side)
    if turned:
        plan = plan.turned()
    try:
        if encoding is Encoding.JPEG:
            # libjpeg decodes at 1/2, 1/4 and 1/8 of the size for a fraction of the time.
            image.draft(None, plan.least_size(image.size))
        profile = image.info.get("icc_profile")
        # Small before it is composed on white: each step on the whole picture is a copy of it.
        image = to_srgb(_on_white(resize(_plain(image), plan)), profile)
        if orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[orientation])
        return np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's decoders raise many kinds of errors on damaged files, and every one of them means the same.
        log.info("%s does not decode: %r", field, error)
        raise _damaged(encoding, length, field) from None


@contextmanager
def _room_for(image: Image.Image) -> Iterator[None]:
    """Lets large pictures be decoded one at a time: each takes up to 16 bytes a pixel for as long as that lasts.

    Not a JPEG that is made smaller row by row, as cameras write them; a progressive one is whole in memory first.
    """
    by_rows = image.format in {"JPEG", "MPO"} and "progressive" not in image.info
    if by_rows or image.width * image.height <= _LARGE:
        yield
    else:
        with _one_large:
            yield


def encode(pixels: np.ndarray, encoding: Encoding, quality: int = 90) -> bytes:
    """Pixels [H,W,3] as a file; quality 1..100 counts for JPEG and WebP. Float32 in 0..1 is rounded to 8 bits.

    `RAW_FLOATS` are float32, little-endian.
    """
    if encoding is Encoding.RAW_FLOATS:
        levels = pixels if pixels.dtype == np.float32 else pixels.astype(np.float32) / np.float32(255.0)
        return np.clip(levels, 0.0, 1.0).astype("<f4").tobytes()
    if pixels.dtype == np.float32:
        pixels = np.clip(np.rint(pixels * 255.0), 0, 255).astype(np.uint8)
    if encoding is Encoding.RAW_PIXELS:
        return pixels.tobytes()
    if encoding is Encoding.PNG:
        return png.write(pixels)
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    if encoding is Encoding.JPEG:
        # 4:4:4, because the strokes of a style are coloured edges.
        image.save(out, "JPEG", quality=quality, subsampling=0)
    else:
        image.save(out, "WEBP", quality=quality, method=0)
    return out.getvalue()


def _check_size(size: Size, limits: ImageLimits, field: str) -> None:
    width, height = size
    pixels = width * height
    if pixels > limits.max_decode_pixels:
        raise InvalidInput(
            field,
            f"{field} is {width}x{height} px {above(pixels, limits.max_decode_pixels)}",
        )
    if min(size) < limits.min_side:
        raise InvalidInput(field, f"{field} is {width}x{height} px; each side must be at least {limits.min_side} px")


def _open(data: bytes, limits: ImageLimits, field: str) -> tuple[Image.Image, Encoding]:
    """A file whose header has been read and is within the limits."""
    if not data:
        raise InvalidInput(field, f"{field} is empty: 0 bytes")
    if len(data) > limits.max_encoded_bytes:
        raise InvalidInput(field, f"{field} is {len(data):,} bytes; the limit is {limits.max_encoded_bytes:,} bytes")
    if _SIGNATURES[Encoding.JPEG].match(data) and has_too_many_scans(data):
        raise InvalidInput(field, f"{field} is a JPEG file of more than {MAX_SCANS} scans, which is the limit")
    try:
        image = Image.open(io.BytesIO(data), formats=_DECODERS)
        encoding = _ENCODINGS[str(image.format)]
    except MemoryError:
        raise
    except Exception:
        for encoding, signature in _SIGNATURES.items():
            if signature.match(data):
                raise _damaged(encoding, len(data), field) from None
        head = " ".join(f"{byte:02x}" for byte in data[:8])
        raise InvalidInput(
            field, f"{field} is not a JPEG, PNG or WebP picture: {len(data):,} bytes that begin with {head}"
        ) from None
    # Before anything else is asked of it: Pillow decodes a whole PNG to look for its EXIF.
    _check_size(image.size, limits, field)
    _correct_transparency(image, encoding, data)
    return image, encoding


def _damaged(encoding: Encoding, length: int, field: str) -> InvalidInput:
    return InvalidInput(field, f"{field} is a truncated or damaged {encoding} file of {length:,} bytes")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Damaged EXIF does not make a picture unreadable.
        return 1


def _plain(image: Image.Image) -> Image.Image:
    """The same in mode L, RGB, CMYK or RGBA: 8 bits, no palette."""
    if image.mode.startswith("I"):
        return _plain_of_16_bits(image)
    if image.mode in _PLAIN and "transparency" not in image.info:
        image.load()
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")


def _plain_of_16_bits(image: Image.Image) -> Image.Image:
    levels, clear = np.asarray(image), image.info.get("transparency")
    plain = np.empty(levels.shape, np.uint8)
    # Row by row: the numbers on the way take eight times the room of what they become.
    for source, row in zip(levels, plain, strict=True):
        np.clip(np.rint(source * np.float32(255.0 / 65535.0)), 0, 255, out=row, casting="unsafe")
        if isinstance(clear, int):
            row[source == clear] = 255
    return Image.fromarray(plain)


def _correct_transparency(image: Image.Image, encoding: Encoding, data: bytes) -> None:
    """Pillow spreads grey of 1, 2 or 4 bits over 0..255, and leaves the one level that is transparent as it was."""
    clear, bits = image.info.get("transparency"), data[24] if len(data) > 24 else 8
    if encoding is Encoding.PNG and image.mode in {"1", "L"} and isinstance(clear, int) and bits < 8:
        image.info["transparency"] = clear * 255 // (2**bits - 1)


def _check_levels(pixels: np.ndarray, field: str) -> None:
    low, high = float(pixels.min()), float(pixels.max())
    # NaN fails every comparison, and min and max hand it on.
    if not (low >= 0.0 and high <= 1.0):
        raise InvalidInput(
            field, f"{field} has values from {low:.9g} to {high:.9g}; floating-point pixels are from 0 to 1"
        )


MAX_SCANS = 64
"""A progressive file of a camera or an editor has about ten. Each scan passes over the whole picture again, and one
that holds nothing takes 75 bytes of a file and milliseconds of a core."""

_SCAN = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c\x0e][\x00-\x04]")
"""The head of a scan: SOS, its length 6 + 2n, the number n of its components (ITU-T T.81, B.2.3)."""


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG file has more than `MAX_SCANS` scans, those of further pictures in it included.

    Wherever they stand: damaged files can hide a scan from everybody who follows the lengths of their segments, and a
    decoder that looks for the next marker finds it.
    """
    return any(number > MAX_SCANS for number, _ in enumerate(_SCAN.finditer(data), 1))
