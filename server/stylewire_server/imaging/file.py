"""Encodings, and the header of a picture file before it is decoded."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .fit import Size
from .hdr import HdrColors
from .profiles import Profile


class Encoding(StrEnum):
    """Encoding of a picture in a request or a result."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    AVIF = "AVIF"
    RAW_PIXELS = "RAW"
    RAW_FLOATS = "FLOATS"


class DamagedFile(OSError):
    """Pixels are missing or wrong. It is an OSError, because it is also raised while Pillow reads."""


class UnsupportedFile(Exception):
    """The file has a format that is not read, or needs more work than is allowed. The message says which."""


@dataclass(frozen=True)
class PictureFile:
    """A file whose header has been read.

    Args:
        encoding: The format.
        size: Width and height in pixels, before the orientation is applied.
        open: Returns the file for Pillow, without metadata that Pillow would spend time on.
        whole: True if the file is decoded at full size, whatever size is asked for.
        bytes_per_pixel: Memory for decoding a file at full size.
        profile: The ICC profile in the file, unchanged.
        exif: The EXIF data in the file, unchanged.
        declared: The colors that the file declares without an ICC profile.
        gray: True if pixels have one color channel, even if Pillow returns three.
        key: The transparent color of a 16-bit RGB PNG file, 16 bits a channel.
        unended: True if the file has no end marker, so that pixels may be missing.
    """

    encoding: Encoding
    size: Size
    open: Callable[[], "io.BufferedIOBase | io.RawIOBase"]
    whole: bool = True
    bytes_per_pixel: int = 16
    profile: bytes | None = None
    exif: bytes | None = None
    declared: Profile | HdrColors | None = None
    gray: bool = False
    key: tuple[int, ...] | None = None
    unended: bool = False
