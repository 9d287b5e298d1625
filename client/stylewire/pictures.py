"""Conversion of pictures to messages: files, bytes, file objects, PIL images and arrays."""

import io
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import InvalidImage
from .v1 import stylizer_pb2 as pb


@runtime_checkable
class PixelArray(Protocol):
    """An array of NumPy, or one like it. The client itself does not need NumPy."""

    @property
    def __array_interface__(self) -> Mapping[str, object]:
        """Shape and type of the array (https://numpy.org/doc/stable/reference/arrays.interface.html)."""

    def tobytes(self) -> bytes:
        """Return the elements in C order."""


ImageLike: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | PixelArray
"""A picture: the path of a file, its bytes, an open file, a PIL image, or an array uint8 [H, W, 3]."""

_RAW_PIXELS = 2**22
"""Maximum pixels of a PIL image or an array that are sent raw. A larger picture is sent as JPEG of quality 95, because
22 million raw pixels would fill a message."""

_UINT8 = "|u1"
"""The type uint8 in the array interface."""

_SENT = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"})
"""Pillow modes that the server reads, in a file or as pixels."""

_CONVERTED = {"RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
"""Other Pillow modes with a known range of values -> the mode that they are converted to."""

_SERVER_FORMATS = ("JPEG", "PNG", "WEBP")
"""Pillow's formats that a server opens. Such files are sent unchanged."""

_CLIENT_FORMATS = ("GIF", "TIFF", "BMP", "AVIF", "HEIF", "JXL")
"""Formats that the client converts before sending, so that servers need only a few decoders."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
"""Major brands of HEIF files (ISO/IEC 23008-12)."""

_JXL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a")
"""First bytes of JPEG XL files: a bare codestream, and a container (ISO/IEC 18181-2)."""


def image_message(picture: ImageLike, field: str, *, metadata: bool = False) -> pb.Image:
    """Return a picture as a message.

    Args:
        picture: The picture. Files in a format that the server does not open are converted.
        field: Name of the picture in the request, for error messages.
        metadata: True to send the EXIF data of a PIL image too.

    Raises:
        InvalidImage: The value is not a picture, or the client cannot convert it.
        OSError: A file cannot be read.
    """
    match picture:
        case bytes():
            return _file_message(picture, field, metadata)
        case str() | os.PathLike():
            with open(os.path.expanduser(picture), "rb") as file:  # noqa: PTH111, PTH123 - any path-like object
                return _file_message(file.read(), field, metadata)
        case Image.Image():
            return _pil_message(picture, field, metadata)
        case PixelArray():
            return _array_message(picture, field)
    if hasattr(picture, "read"):
        data = picture.read()
        if isinstance(data, bytes):
            return _file_message(data, field, metadata)
        raise InvalidImage(f"{field} is a file open as text; open it with mode 'rb'", field)
    raise InvalidImage(
        f"{field} is a {type(picture).__name__}; give a path, bytes, an open file, a PIL image or a uint8 array "
        "[H, W, 3]",
        field,
    )


def picture_size(image: pb.Image) -> tuple[int, int] | None:
    """Return (width, height) of a picture in a message from its header; None if the header cannot be read."""
    if image.WhichOneof("kind") == "pixels":
        return image.pixels.width, image.pixels.height
    try:
        with Image.open(io.BytesIO(image.encoded), formats=_SERVER_FORMATS) as opened:
            return opened.size
    except Exception:  # Pillow raises many kinds of errors; the server will say what is wrong.
        return None


def is_picture(data: bytes) -> bool:
    """Return True if a file begins as a picture of a format that can be sent. The file may be damaged.

    Args:
        data: At least the first 32 bytes of the file.
    """
    if is_server_format(data) or _missing_plugin(data) or data.startswith(_JXL_STARTS):
        return True
    return data.startswith((b"GIF8", b"II*\0", b"MM\0*", b"BM")) or data[4:8] == b"ftyp"


def is_server_format(data: bytes) -> bool:
    """Return True if a file begins as JPEG, PNG or WebP, which a server opens."""
    return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        data.startswith(b"RIFF") and data[8:12] == b"WEBP"
    )


def open_picture(data: bytes, formats: tuple[str, ...] = _SERVER_FORMATS + _CLIENT_FORMATS) -> Image.Image:
    """Open a file of a known format, without Pillow's other decoders.

    Raises:
        UnidentifiedImageError: The file is of another format.
    """
    _register_plugins(data)
    known = [name for name in formats if name in Image.OPEN or name in {"GIF", "TIFF", "BMP", "AVIF"}]
    return Image.open(io.BytesIO(data), formats=known)


def _file_message(data: bytes, field: str, metadata: bool) -> pb.Image:
    if is_server_format(data):
        return pb.Image(encoded=data)
    try:
        with open_picture(data, _CLIENT_FORMATS) as image:
            return _pil_message(image, field, metadata)
    except InvalidImage:
        raise
    except UnidentifiedImageError:
        if extra := _missing_plugin(data):
            raise InvalidImage(f"{field} is a picture that needs: {extra}", field) from None
        if is_picture(data):
            raise InvalidImage(f"{field} cannot be read: it begins as a picture, and is damaged", field) from None
        # The server refuses other formats with a message that names them.
        return pb.Image(encoded=data)
    except Exception as error:  # Pillow raises many kinds of errors for damaged files.
        raise InvalidImage(f"{field} cannot be read: {error}", field) from None


def _register_plugins(data: bytes) -> None:
    """Register the Pillow plug-in for HEIF or JPEG XL if a file needs it and it is installed."""
    try:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and "HEIF" not in Image.OPEN:
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif data.startswith(_JXL_STARTS) and "JXL" not in Image.OPEN:
            import pillow_jxl  # noqa: F401 - the import registers it
    except ImportError:
        return


def _missing_plugin(data: bytes) -> str:
    """Return the command that installs the plug-in for a file; empty if none is missing."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and "HEIF" not in Image.OPEN:
        return "pip install 'stylewire[heic]'"
    if data.startswith(_JXL_STARTS) and "JXL" not in Image.OPEN:
        return "pip install 'stylewire[jxl]'"
    return ""


def _pil_message(picture: Image.Image, field: str, metadata: bool) -> pb.Image:
    try:
        # Pillow decodes a picture of a file only now.
        upright = ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InvalidImage(f"{field} is a PIL image that cannot be decoded: {error}", field) from None
    if upright.mode in {"I;16B", "I;16L"}:
        upright = upright.convert("I").convert("I;16")
    if upright.mode in _CONVERTED:
        upright = upright.convert(_CONVERTED[upright.mode])
    if upright.mode not in _SENT:
        raise InvalidImage(f"{field} is a PIL image of mode {upright.mode}; convert it to RGB", field)
    large = upright.width * upright.height > _RAW_PIXELS
    exif = upright.getexif().tobytes() if metadata else b""
    if upright.mode == "RGB" and "icc_profile" not in upright.info and not large and not exif:
        return pb.Image(pixels=pb.Pixels(height=upright.height, width=upright.width, rgb=upright.tobytes()))
    # The server interprets transparency, palettes and profiles, in the same way for all callers.
    form = "JPEG" if upright.mode == "CMYK" or (upright.mode == "RGB" and large) else "PNG"
    return _encoded(upright, form, field, exif)


def _encoded(picture: Image.Image, form: str, field: str, exif: bytes = b"") -> pb.Image:
    out = io.BytesIO()
    options: dict[str, Any] = {"icc_profile": picture.info.get("icc_profile")}
    if exif:
        options["exif"] = exif
    try:
        picture.save(out, form, compress_level=1, quality=95, subsampling=0, **options)
    except OSError as error:
        raise InvalidImage(f"{field} of {picture.width}x{picture.height} px cannot be sent: {error}", field) from None
    return pb.Image(encoded=out.getvalue())


def _array_message(picture: PixelArray, field: str) -> pb.Image:
    kind, shape = (picture.__array_interface__[name] for name in ("typestr", "shape"))
    match shape:
        case (int(height), int(width), 3) if kind == _UINT8:
            pass
        case _:
            given = f"{getattr(picture, 'dtype', kind)} {list(shape) if isinstance(shape, tuple) else shape}"
            raise InvalidImage(f"{field} is an array {given}; it must be uint8 [H, W, 3]", field)
    if height * width > _RAW_PIXELS:
        return _encoded(Image.frombytes("RGB", (width, height), picture.tobytes()), "JPEG", field)
    return pb.Image(pixels=pb.Pixels(height=height, width=width, rgb=picture.tobytes()))
