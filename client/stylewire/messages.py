"""Python values to messages and back."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, TypedDict, TypeVar

import numpy as np
from PIL import Image, ImageOps

from .errors import InvalidImage, InvalidRequest
from .v1 import stylizer_pb2 as pb

ImageLike: TypeAlias = str | Path | bytes | Image.Image | np.ndarray
"""A picture: the path of a file, the bytes of one, a PIL image, or an array uint8 [H,W,3]."""

StyleLike: TypeAlias = "ImageLike | WeightedStyle | Mapping[ImageLike, float] | Iterable[ImageLike | WeightedStyle]"
"""A picture, the name of a named style, a mapping of either to weights, or several of either in equal parts.

A `WeightedStyle` gives a style a weight and a mask; it may stand alone or among several styles.
"""

E = TypeVar("E")

STYLE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

FITS: Mapping[str, pb.Fit] = {
    "crop": pb.FIT_CROP_256,
    "squash": pb.FIT_SQUASH_256,
    "keep": pb.FIT_KEEP_256,
    "native": pb.FIT_NATIVE,
}

ENCODINGS: Mapping[str, pb.Encoding] = {
    "png": pb.ENCODING_PNG,
    "jpeg": pb.ENCODING_JPEG,
    "webp": pb.ENCODING_WEBP,
    "raw": pb.ENCODING_RAW_PIXELS,
}

MIN_SIZE, MAX_SIZE = 64, 4096
"""Bounds in pixels of the option `size`, by the contract."""

_RAW_PIXELS = 2**22
"""Pixels that travel as they are. More than these a server by default only takes to make them fewer, which JPEG of
quality 95 outlives; and 22 million would fill a message."""

_SENT = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"})
"""Modes of PIL that travel as they are, in a file or as pixels."""

_CONVERTED = {"RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
"""Others whose values have a known range, and what they become."""


class Options(TypedDict, total=False):
    """How to stylise; what is left out or None is the server's default.

    Args:
        strength: 0..1, default 1; 0 is the content in its own style.
        preserve_color: Keep the content's colours.
        fit: "crop" (the centre square, the default), "squash" (all of it as a square), "keep" (all of it, its shorter
            side brought to `size`) or "native" (the content's own size).
        encoding: How the picture travels back: "png", "jpeg", "webp" or "raw"; None for the content's own format.
        quality: 1..100 for JPEG and WebP, default 90.
        size: Side in pixels at which the network works, 64..4096, default 256. Larger sizes give finer strokes. A
            content is never enlarged to a size that is given. Not with the fit "native".
        full_size: Compute at `size`, and return the picture at the content's own size with the content's contours.
        keep_metadata: Copy the content's ICC profile and capture metadata to the result.
    """

    strength: float | None
    preserve_color: bool
    fit: str
    encoding: str | None
    quality: int | None
    size: int | None
    full_size: bool
    keep_metadata: bool


@dataclass(frozen=True)
class WeightedStyle:
    """One style of a blend, with its weight and the part of the content that it is for.

    Args:
        style: A picture, or the name of a named style.
        weight: Above 0.
        mask: A picture of any size, read as gray and resized to the content. The style applies where it is white.
            Without a mask the style applies everywhere.
    """

    style: ImageLike
    weight: float | None = None
    mask: ImageLike | None = None


@dataclass(frozen=True)
class Timings:
    """Where the server's time for one picture went, in milliseconds."""

    queue_ms: float
    decode_ms: float
    predict_ms: float
    transform_ms: float
    encode_ms: float
    style_cached: bool


@dataclass(frozen=True)
class Stylized:
    """A stylised picture as it came.

    Attributes:
        data: A JPEG, PNG or WebP file; for raw pixels height * width * 3 bytes.
        raw: Whether data is raw pixels.
        width: In pixels.
        height: In pixels.
        model: The edition that made it.
        timings: Where the time went.
    """

    data: bytes
    raw: bool
    width: int
    height: int
    model: str
    timings: Timings

    @property
    def image(self) -> Image.Image:
        """The picture in memory, mode RGB."""
        if self.raw:
            return Image.frombytes("RGB", (self.width, self.height), self.data)
        image = Image.open(io.BytesIO(self.data))
        image.load()
        return image


@dataclass(frozen=True)
class Style:
    """A style that the server keeps under a name.

    Attributes:
        name: As `wave`.
        model: The edition of the network that made it, and can use it.
        create_time: In UTC.
        thumbnail_data: A small JPEG file.
    """

    name: str
    model: str
    create_time: datetime
    thumbnail_data: bytes = field(repr=False)

    @property
    def thumbnail(self) -> Image.Image:
        """A small picture of it, mode RGB."""
        image = Image.open(io.BytesIO(self.thumbnail_data))
        image.load()
        return image


def image_message(picture: ImageLike, field: str) -> pb.Image:
    """A picture as a message.

    Raises:
        InvalidImage: Not a picture's type, shape or dtype.
        OSError: A path cannot be read.
    """
    match picture:
        case str() | Path():
            return pb.Image(encoded=Path(picture).expanduser().read_bytes())
        case bytes():
            return pb.Image(encoded=picture)
        case Image.Image():
            return _pil_message(picture, field)
        case np.ndarray():
            return _pixels_message(picture, field)
        case _:
            raise InvalidImage(_not_a_picture(picture, field), field)


def style_messages(style: StyleLike) -> list[pb.WeightedStyle]:
    """A style, or a blend of several, as messages. A str that could be a style's name is one; `./wave` is a path.

    Raises:
        InvalidRequest: A weight is not a number.
        InvalidImage, OSError: As for `image_message`.
    """
    if isinstance(style, Mapping):
        return [_style_message(part, weight, f"styles[{index}]") for index, (part, weight) in enumerate(style.items())]
    if isinstance(style, str | Path | bytes | Image.Image | np.ndarray | WeightedStyle):
        return [_style_message(style, None, "styles[0]")]
    if hasattr(style, "read"):
        raise InvalidImage(_not_a_picture(style, "styles[0]"), "styles[0]")
    if isinstance(style, Iterable):
        return [_style_message(part, None, f"styles[{index}]") for index, part in enumerate(style)]
    raise InvalidRequest(f"style is a {type(style).__name__}; give a picture, a name, or a mapping of them to weights")


def options_message(
    strength: float | None = None,
    preserve_color: bool = False,
    fit: str = "crop",
    encoding: str | None = None,
    quality: int | None = None,
    size: int | None = None,
    full_size: bool = False,
    keep_metadata: bool = False,
) -> pb.StylizeOptions:
    """Options as a message; None leaves a value to the server.

    Raises:
        InvalidRequest: The name of a fit or an encoding is not one, or a value is not a number.
    """
    for name, value in (("strength", strength), ("quality", quality), ("size", size)):
        if value is not None and not _is_number(value):
            raise InvalidRequest(f"{name} is {value!r}; it must be a number", f"options.{name}")
    message = pb.StylizeOptions(
        preserve_color=preserve_color,
        fit=_choice(FITS, fit, "fit"),
        encoding=pb.ENCODING_UNSPECIFIED if encoding is None else _choice(ENCODINGS, encoding, "encoding"),
        full_size=full_size,
        keep_metadata=keep_metadata,
    )
    if strength is not None:
        message.strength = float(strength)
    if quality is not None:
        if not 1 <= quality <= 100 or quality != int(quality):
            raise InvalidRequest(f"quality is {quality}; it must be a whole number from 1 to 100", "options.quality")
        message.quality = int(quality)
    if size is not None:
        if not MIN_SIZE <= size <= MAX_SIZE or size != int(size):
            raise InvalidRequest(
                f"size is {size} px; it must be a whole number from {MIN_SIZE} to {MAX_SIZE} px", "options.size"
            )
        message.size = int(size)
    return message


def stylize_request(content: ImageLike, style: StyleLike, options: Options) -> pb.StylizeRequest:
    """The request for one picture; raises as the messages that it is made of."""
    return pb.StylizeRequest(
        content=image_message(content, "content"), styles=style_messages(style), options=options_message(**options)
    )


def setup_request(style: StyleLike, options: Options) -> pb.StylizeStreamRequest:
    """The first message of a stream."""
    setup = pb.StreamSetup(styles=style_messages(style), options=options_message(**options))
    return pb.StylizeStreamRequest(setup=setup)


def frame_request(frame: ImageLike, number: int) -> pb.StylizeStreamRequest:
    """A further message of a stream; raises as `image_message`, with the frame's number, counted from 0."""
    try:
        return pb.StylizeStreamRequest(content=image_message(frame, "content"))
    except InvalidImage as error:
        raise InvalidImage(f"frame {number}: {error}", error.field) from None


def create_request(name: str, style: StyleLike, overwrite: bool) -> pb.CreateStyleRequest:
    """The request that keeps a style."""
    return pb.CreateStyleRequest(name=name, styles=style_messages(style), overwrite=overwrite)


def kept_style(message: pb.Style) -> Style:
    """A named style as a value."""
    return Style(
        name=message.name,
        model=message.model,
        create_time=message.create_time.ToDatetime(UTC),
        thumbnail_data=message.thumbnail.encoded,
    )


def stylized(response: pb.StylizeResponse) -> Stylized:
    """An answer as a value."""
    raw = response.image.WhichOneof("kind") == "pixels"
    times = response.timings
    return Stylized(
        data=response.image.pixels.rgb if raw else response.image.encoded,
        raw=raw,
        width=response.width,
        height=response.height,
        model=response.model,
        timings=Timings(
            queue_ms=times.queue_ms,
            decode_ms=times.decode_ms,
            predict_ms=times.predict_ms,
            transform_ms=times.transform_ms,
            encode_ms=times.encode_ms,
            style_cached=times.style_cached,
        ),
    )


def _style_message(style: ImageLike | WeightedStyle, weight: float | None, field: str) -> pb.WeightedStyle:
    if isinstance(style, WeightedStyle):
        message = _style_message(style.style, style.weight, field)
        if style.mask is not None:
            message.mask.CopyFrom(image_message(style.mask, f"{field}.mask"))
        return message
    if isinstance(style, str) and STYLE_NAME.fullmatch(style):
        message = pb.WeightedStyle(name=style)
    else:
        message = pb.WeightedStyle(image=image_message(style, field))
    if weight is not None:
        if not _is_number(weight):
            raise InvalidRequest(f"{field}.weight is {weight!r}; it must be a finite number above 0", f"{field}.weight")
        message.weight = float(weight)
    return message


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number)


def _not_a_picture(value: object, field: str) -> str:
    return f"{field} is a {type(value).__name__}; give a path, bytes, a PIL image or a uint8 array [H, W, 3]"


def _pil_message(picture: Image.Image, field: str) -> pb.Image:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in _CONVERTED:
        upright = upright.convert(_CONVERTED[upright.mode])
    if upright.mode not in _SENT:
        raise InvalidImage(f"{field} is a PIL image of mode {upright.mode}; convert it to RGB", field)
    large = upright.width * upright.height > _RAW_PIXELS
    if upright.mode == "RGB" and "icc_profile" not in upright.info and not large:
        return pb.Image(pixels=pb.Pixels(height=upright.height, width=upright.width, rgb=upright.tobytes()))
    # Alpha, palettes and profiles are the server's to interpret, the same way for everyone.
    return _encoded(upright, "JPEG" if upright.mode == "CMYK" or (upright.mode == "RGB" and large) else "PNG", field)


def _encoded(picture: Image.Image, form: str, field: str) -> pb.Image:
    out = io.BytesIO()
    profile = picture.info.get("icc_profile")
    try:
        picture.save(out, form, compress_level=1, quality=95, subsampling=0, icc_profile=profile)
    except OSError as error:
        raise InvalidImage(f"{field} of {picture.width}x{picture.height} px cannot be sent: {error}", field) from None
    return pb.Image(encoded=out.getvalue())


def _pixels_message(picture: np.ndarray, field: str) -> pb.Image:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InvalidImage(
            f"{field} is an array {picture.dtype} {list(picture.shape)}; it must be uint8 [H, W, 3]", field
        )
    height, width = picture.shape[:2]
    if height * width > _RAW_PIXELS:
        return _encoded(Image.fromarray(picture), "JPEG", field)
    return pb.Image(pixels=pb.Pixels(height=height, width=width, rgb=picture.tobytes()))


def _choice(choices: Mapping[str, E], name: str, field: str) -> E:
    try:
        return choices[name]
    except (KeyError, TypeError):
        raise InvalidRequest(
            f"{field} is {name!r}; it must be one of {', '.join(choices)}", f"options.{field}"
        ) from None
