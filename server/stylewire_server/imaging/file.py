"""What is known of an encoded picture before it is decoded."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .fit import Size
from .hdr import HdrColors
from .profiles import Profile


class Encoding(StrEnum):
    """The form of a picture on the wire."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WEBP"
    AVIF = "AVIF"
    RAW_PIXELS = "RAW"
    RAW_FLOATS = "FLOATS"


class DamagedFile(OSError):
    """Pixels are missing or wrong. Also raised while Pillow reads, so it is an OSError."""


class UnsupportedFile(Exception):
    """The file is of a kind that is not read, or asks for more work than is allowed; the message says which."""


@dataclass(frozen=True)
class PictureFile:
    """A file whose header has been read.

    Args:
        encoding: Its format.
        size: Width and height in pixels, before the orientation is applied.
        open: Returns the file for Pillow, without what Pillow would spend time on beside the pixels.
        whole: It is decoded at full size, whatever size is asked for.
        bytes_per_pixel: Memory that decoding takes, where it is decoded whole.
        profile: The ICC profile in the file, as it is.
        exif: The EXIF data in the file, as they are.
        declared: The colors that the file declares without an ICC profile.
        grey: Pixels have one color channel, also where Pillow makes three.
        key: The transparent color, 16 bits a channel, of a PNG file of 16-bit RGB.
        unended: The file does not say where its pixels end, so that some may be missing.
    """

    encoding: Encoding
    size: Size
    open: Callable[[], "io.BufferedIOBase | io.RawIOBase"]
    whole: bool = True
    bytes_per_pixel: int = 16
    profile: bytes | None = None
    exif: bytes | None = None
    declared: Profile | HdrColors | None = None
    grey: bool = False
    key: tuple[int, ...] | None = None
    unended: bool = False
