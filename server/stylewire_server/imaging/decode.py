"""Decoding of picture files to upright sRGB pixels. The server and the optimizer baseline share this reader."""

import logging
import math
import re
from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..errors import InvalidInput
from . import exif, jpeg, png, webp
from .color import to_srgb
from .file import DamagedFile, Encoding, PictureFile, UnsupportedFile
from .fit import Plan, Size, resize
from .hdr import HdrColors
from .limits import ImageLimits, format_over_limit
from .profiles import Profile, UnusableProfile, simplify

log = logging.getLogger(__name__)

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that makes the picture upright (Exif 3.0, 4.6.5)."""

TURNED = range(5, 9)
"""EXIF orientations that swap width and height."""

_PLAIN = frozenset({"L", "RGB", "CMYK", "RGBA"})
"""Pillow modes that need no conversion before resizing."""

_READERS: tuple[tuple[re.Pattern[bytes], Encoding, Callable[[bytes], PictureFile]], ...] = (
    (re.compile(re.escape(jpeg.SIGNATURE)), Encoding.JPEG, jpeg.read),
    (re.compile(re.escape(png.SIGNATURE)), Encoding.PNG, png.read),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), Encoding.WEBP, webp.read),
)

_PLUGINS: dict[Encoding, type[ImageFile]] = {
    Encoding.JPEG: JpegImageFile,
    Encoding.PNG: PngImageFile,
    Encoding.WEBP: WebPImageFile,
}
"""Pillow's decoders. They are called directly, because `Image.open` warns of large pictures by a limit of its own."""

_OTHERS = (
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"), "a TIFF or camera RAW"),
    (re.compile(rb"BM"), "a BMP"),
    (re.compile(rb"....ftyp(avi[fs])", re.DOTALL), "an AVIF"),
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL), "a HEIC"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "a JPEG XL"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"\s*(<\?xml|<svg)"), "an SVG or XML"),
)
"""Signatures of formats that are not read, for clear error messages."""


def check_size(size: Size, limits: ImageLimits, field: str) -> None:
    """Raise InvalidInput for a picture of too many pixels, or of too few on a side."""
    width, height = size
    pixels = width * height
    if pixels > limits.max_decode_pixels:
        raise InvalidInput(
            field,
            f"{field} is {width}x{height} px = {format_over_limit(pixels, limits.max_decode_pixels)}",
            value=pixels,
            limit=limits.max_decode_pixels,
            unit="px",
        )
    if min(size) < limits.min_side:
        message = f"{field} is {width}x{height} px; each side must be at least {limits.min_side} px"
        raise InvalidInput(field, message, value=min(size), limit=limits.min_side, unit="px")


def encoding_of(data: bytes) -> Encoding | None:
    """Return the format of a file by its signature; None for a format that is not read."""
    return next((encoding for signature, encoding, _ in _READERS if signature.match(data)), None)


def open_file(data: bytes, limits: ImageLimits, field: str) -> PictureFile:
    """Read the header of a file; no pixel is decoded.

    Raises:
        InvalidInput: The file is no JPEG, PNG or WebP file, is damaged, or is outside the limits.
    """
    if not data:
        raise InvalidInput(field, f"{field} is empty: 0 bytes")
    if len(data) > limits.max_encoded_bytes:
        message = f"{field} is {len(data):,} bytes; the limit is {limits.max_encoded_bytes:,} bytes"
        raise InvalidInput(field, message, value=len(data), limit=limits.max_encoded_bytes, unit="bytes")
    for signature, encoding, read in _READERS:
        if signature.match(data):
            try:
                file = read(data)
            except UnsupportedFile as error:
                raise InvalidInput(field, f"{field} {error}") from None
            except DamagedFile as error:
                raise _damaged(encoding, len(data), field, error) from None
            _check_file(file, limits, field)
            return file
    kind = next((name for signature, name in _OTHERS if signature.match(data)), None)
    if kind:
        raise InvalidInput(field, f"{field} is {kind} file, not a JPEG, PNG or WebP picture; convert it first")
    head = " ".join(f"{byte:02x}" for byte in data[:8])
    raise InvalidInput(field, f"{field} is not a JPEG, PNG or WebP picture: {len(data):,} bytes that begin with {head}")


def _check_file(file: PictureFile, limits: ImageLimits, field: str) -> None:
    check_size(file.size, limits, field)
    pixels, limit = math.prod(file.size), limits.max_decode_bytes // file.bytes_per_pixel
    if file.whole and pixels > limit:
        kind = "JPEG file that is not sequential" if file.encoding is Encoding.JPEG else f"{file.encoding} file"
        raise InvalidInput(
            field,
            f"{field} is {file.size[0]}x{file.size[1]} px = {format_over_limit(pixels, limit)} for a {kind}, which is "
            f"decoded whole; a sequential JPEG file may have {limits.max_decode_pixels / 1e6:,.1f} Mpx",
        )


def decode(file: PictureFile, plan: Plan, length: int, field: str, background: str = "white") -> Image.Image:
    """Return a file's picture upright, in mode RGB and sRGB.

    Args:
        file: The file.
        plan: The used part of the upright picture, and its size.
        length: Bytes of the file, for messages.
        field: Name of the picture in the request, for messages.
        background: Color behind transparent parts.

    Raises:
        InvalidInput: The pixels are damaged.
    """
    turn = exif.orientation(file.exif)
    if turn in TURNED:
        plan = plan.turned()
    try:
        image = _decoded_without_end(file, plan) if file.unended else _decoded(file, plan)
        image = to_rgb(image, plan, colors_of(file), file.gray, background)
        return turn_upright(image, turn)
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's decoders raise many kinds of errors on damaged files. All of them mean damage.
        raise _damaged(file.encoding, length, field, error) from None


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture with the given EXIF orientation turned upright."""
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def to_rgb(
    image: Image.Image, plan: Plan, colors: Profile | HdrColors | None, gray: bool = False, background: str = "white"
) -> Image.Image:
    """Return the plan's part of a decoded picture of any mode, in mode RGB and sRGB.

    Args:
        image: The picture.
        plan: The used part of the picture, and its size.
        colors: The color space of the picture; None for sRGB.
        gray: True if the three color channels are equal.
        background: Color behind transparent parts.
    """
    # Resize first: each color conversion copies the whole picture.
    image = resize(_plain(image), plan)
    if image.mode != "RGBA":
        return to_srgb(image, colors)
    of_gray = gray and isinstance(colors, Profile) and colors.mode == "L"
    color = image.getchannel("R") if of_gray else image.convert("RGB")
    flat = Image.new("RGB", image.size, background)
    flat.paste(to_srgb(color, colors), mask=image.getchannel("A"))
    return flat


def colors_of(file: PictureFile) -> Profile | HdrColors | None:
    """Return the color space of a file's pixels; None if it is sRGB or not stated."""
    return usable(file.profile) if file.profile else file.declared


def usable(profile: bytes) -> Profile | None:
    """Return the part of an ICC profile that is used; None, with a line in the log, if it cannot be used."""
    try:
        return simplify(profile)
    except UnusableProfile as error:
        log.info("ignoring a color profile: %s", error)
        return None


def _decoded(file: PictureFile, plan: Plan) -> Image.Image:
    image = _opened(file, file.open())
    if isinstance(image, JpegImageFile):
        # libjpeg decodes at 1/2, 1/4 and 1/8 of the size for a fraction of the time.
        image.draft(None, plan.least_size(image.size))
    image.load()
    if file.key:
        return _without_key(image, file)
    return image


def _decoded_without_end(file: PictureFile, plan: Plan) -> Image.Image:
    """Return the picture of a JPEG file without an end marker.

    Raises:
        DamagedFile: Pixels are missing.
    """
    pictures = []
    for data in jpeg.endings(file.open().read()):
        image = _opened(file, jpeg.stream(data))
        image.draft(None, plan.least_size(image.size))
        image.load()
        pictures.append(image)
    if pictures[0].tobytes() != pictures[1].tobytes():
        raise DamagedFile("the file ends before its pixels")
    return pictures[0]


def _opened(file: PictureFile, source: object) -> ImageFile:
    image = _PLUGINS[file.encoding](source)  # type: ignore[arg-type]
    if image.size != file.size:
        raise DamagedFile(f"two sizes, {file.size} and {image.size}")
    return image


def _without_key(image: Image.Image, file: PictureFile) -> Image.Image:
    """Return a 16-bit RGB picture with the key color transparent. Pillow keeps 8 bits, but the key has 16."""
    lower = _opened(file, file.open())
    # The raw mode of the other byte order reads the lower byte.
    lower.tile = [lower.tile[0]._replace(args="RGB;16L")]
    upper_key, lower_key = np.divmod(np.array(file.key), 256)
    clear = (np.asarray(image) == upper_key).all(-1)
    clear &= (np.asarray(lower) == lower_key).all(-1)
    image = image.copy()
    image.putalpha(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)))
    return image


def _plain(image: Image.Image) -> Image.Image:
    """Return the picture in mode L, RGB, CMYK or RGBA: 8 bits, no palette."""
    if image.mode.startswith("I"):
        return _plain_of_16_bits(image)
    if image.mode in _PLAIN and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _plain_of_16_bits(image: Image.Image) -> Image.Image:
    levels, clear = np.asarray(image), image.info.get("transparency")
    plain = np.empty(levels.shape, np.uint8)
    # Row by row, because the intermediate numbers take eight times the memory of the result.
    for source, row in zip(levels, plain, strict=True):
        np.clip(np.rint(source * np.float32(255.0 / 65535.0)), 0, 255, out=row, casting="unsafe")
    gray = Image.fromarray(plain)
    if not isinstance(clear, int):
        return gray
    alpha = Image.fromarray(np.where(levels == clear, np.uint8(0), np.uint8(255)))
    return Image.merge("RGBA", [gray, gray, gray, alpha])


def _damaged(encoding: Encoding, length: int, field: str, error: Exception) -> InvalidInput:
    log.info("%s does not decode: %r", field, error)
    return InvalidInput(field, f"{field} is a truncated or damaged {encoding} file of {length:,} bytes")
