"""Conversion of Python values to requests, and of answers to Python values. Every answer is checked."""

import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from PIL import Image

from .errors import InvalidImage, InvalidRequest, ServerError
from .options import DEFAULT_SIZE, Options, is_number, options_message
from .pictures import ImageLike, PixelArray, image_message, picture_size
from .v1 import stylizer_pb2 as pb

STYLE_NAME = re.compile(r"(?:gallery/)?[a-z0-9][a-z0-9-]{0,62}")
"""Pattern of a style's name, as in the contract."""

_ANSWER_FORMATS = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}
"""Pillow's formats that an answer may have -> their media types. Answers are opened by no other decoder."""

_ASKED_FORMATS = {
    pb.ENCODING_PNG: "PNG",
    pb.ENCODING_JPEG: "JPEG",
    pb.ENCODING_WEBP: "WEBP",
    pb.ENCODING_AVIF: "AVIF",
    pb.ENCODING_RAW_PIXELS: "raw pixels",
}

MAX_ANSWER_PIXELS = 2**28
"""Maximum pixels of any answer. Pillow's own limit on large pictures applies as well."""


@dataclass(frozen=True)
class WeightedStyle:
    """A style with its weight, and the region that it applies to.

    Args:
        style: A picture, or the name of a named style.
        weight: Weight in the blend, above 0. The weights of a request are divided by their sum.
        mask: A picture of any size, read as gray: the style applies where it is white. None for everywhere.
    """

    style: ImageLike
    weight: float = 1.0
    mask: ImageLike | None = None


StyleLike: TypeAlias = (
    ImageLike | WeightedStyle | Mapping[ImageLike, float] | Mapping[str, float] | Iterable[ImageLike | WeightedStyle]
)
"""A picture, the name of a named style, a mapping of either to weights, or several styles in a list."""


@dataclass(frozen=True)
class Timings:
    """The time that the server spent on each stage of one picture.

    Attributes:
        queue_ms: Milliseconds in the queue.
        decode_ms: Milliseconds to decode the content and the style pictures.
        predict_ms: Milliseconds to compute style vectors.
        transform_ms: Milliseconds to compute the picture.
        encode_ms: Milliseconds to encode the result.
        style_cached: True if no style vector had to be computed.
    """

    queue_ms: float
    decode_ms: float
    predict_ms: float
    transform_ms: float
    encode_ms: float
    style_cached: bool


@dataclass(frozen=True)
class Stylized:
    """A stylized picture as it came from the server. It shows itself in a notebook.

    Attributes:
        data: A JPEG, PNG, WebP or AVIF file, or height * width * 3 bytes of raw pixels.
        encoding: "jpeg", "png", "webp", "avif" or "raw".
        width: Width in pixels.
        height: Height in pixels.
        model: The edition of the network, such as "lite".
        timings: The time of each stage.
    """

    data: bytes = field(repr=False)
    encoding: str
    width: int
    height: int
    model: str
    timings: Timings = field(repr=False)

    @property
    def raw(self) -> bool:
        """True if `data` is raw pixels."""
        return self.encoding == "raw"

    @property
    def image(self) -> Image.Image:
        """The picture in memory, of mode RGB.

        Raises:
            ServerError: The file is damaged.
        """
        if self.raw:
            return Image.frombytes("RGB", (self.width, self.height), self.data)
        try:
            with _open_answer(self.data) as image:
                image.load()
                return image if image.mode == "RGB" else image.convert("RGB")
        except Exception as error:  # Pillow raises many kinds of errors for damaged files.
            raise ServerError(f"the server's answer is a damaged {self.encoding} file: {error}") from None

    def _repr_png_(self) -> bytes | None:
        if self.encoding == "jpeg":
            return None
        if self.encoding == "png":
            return self.data
        out = io.BytesIO()
        self.image.save(out, "PNG", compress_level=1)
        return out.getvalue()

    def _repr_jpeg_(self) -> bytes | None:
        return self.data if self.encoding == "jpeg" else None


@dataclass(frozen=True)
class Style:
    """A style that the server keeps under a name. It shows its thumbnail in a notebook.

    Attributes:
        name: The name, such as "wave".
        model: The edition of the network that made the style. Only this edition can use it.
        create_time: Time of creation, in UTC.
        thumbnail_data: A small JPEG file; empty if there is none.
        tuned: True if the style was tuned offline.
        built_in: True if the style belongs to the server's gallery. It cannot be replaced or deleted.
        origin: A text on the origin of the style; empty if it is unknown.
    """

    name: str
    model: str
    create_time: datetime
    thumbnail_data: bytes = field(repr=False)
    tuned: bool = False
    built_in: bool = False
    origin: str = ""

    @property
    def thumbnail(self) -> Image.Image:
        """A small picture of the style, of mode RGB.

        Raises:
            ServerError: The server sent none, or a damaged file.
        """
        try:
            with _open_answer(self.thumbnail_data) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow raises many kinds of errors for damaged files.
            raise ServerError(f"the thumbnail of style {self.name!r} cannot be read: {error}") from None

    def _repr_jpeg_(self) -> bytes | None:
        return self.thumbnail_data or None


@dataclass(frozen=True)
class Asked:
    """The expected properties of an answer: the options, and the size of the content.

    Args:
        options: The options of the request.
        size: (width, height) of the content; None if it is not known.
        raw: True if the content was sent as raw pixels.
    """

    options: pb.StylizeOptions
    size: tuple[int, int] | None
    raw: bool

    @classmethod
    def by(cls, options: pb.StylizeOptions, content: pb.Image) -> "Asked":
        """Return the expected properties for a request with these options and this content."""
        square = not options.full_size and options.fit not in {pb.FIT_KEEP_256, pb.FIT_NATIVE}
        size = None if square else picture_size(content)
        return cls(options, size, content.WhichOneof("kind") == "pixels")

    def check_format(self, form: str) -> None:
        """Raise ServerError if an answer has another format than the request asked for."""
        wanted = _ASKED_FORMATS.get(self.options.encoding)
        if wanted is None:
            wanted = form if self.raw or form != "raw pixels" else "a picture file"
        if form != wanted:
            raise ServerError(f"the server's answer is {form}; {wanted} was asked for")

    def check_size(self, width: int, height: int) -> None:
        """Raise ServerError if an answer has another size than the request asked for."""
        if not 0 < width * height <= MAX_ANSWER_PIXELS:
            raise ServerError(
                f"the server's answer is {width}x{height} px; the limit is {MAX_ANSWER_PIXELS:,} px, and 1 px at least"
            )
        side = self.options.size or DEFAULT_SIZE
        short, long = sorted((width, height))
        if not self.options.full_size and self.options.fit not in {pb.FIT_KEEP_256, pb.FIT_NATIVE}:
            fits, asked = long <= side, f"{side}x{side} px"
        elif self.size is None:
            fits, asked = True, ""
        else:
            asked_short, asked_long = sorted(self.size)
            if self.options.full_size:
                fits, asked = short <= asked_short and long <= asked_long, f"at most {self.size[0]}x{self.size[1]} px"
            elif self.options.fit == pb.FIT_NATIVE:
                fits, asked = (short, long) == (asked_short, asked_long), f"{self.size[0]}x{self.size[1]} px"
            else:
                # Rounding may add a pixel to the longer side.
                most = math.ceil(side * asked_long / max(asked_short, 1)) + 1
                fits, asked = short <= side and long <= most, f"at most {side}x{most} px"
        if not fits:
            raise ServerError(f"the server's answer is {width}x{height} px; {asked} was asked for")


def style_messages(style: StyleLike) -> list[pb.WeightedStyle]:
    """Return a style, or a blend of several, as messages.

    A string that could be the name of a style is one; write `./wave` for a file of that name.

    Raises:
        InvalidRequest: A weight is not a number, or the value is not a style.
        InvalidImage: A value is not a picture.
        OSError: A file cannot be read.
    """
    if isinstance(style, Mapping):
        parts = [WeightedStyle(part, weight) for part, weight in style.items()]
        return [_style_message(part, f"styles[{index}]") for index, part in enumerate(parts)]
    single = isinstance(style, str | os.PathLike | bytes | Image.Image | PixelArray | WeightedStyle)
    if single or hasattr(style, "read"):
        return [_style_message(style, "styles[0]")]
    if isinstance(style, Iterable):
        return [_style_message(part, f"styles[{index}]") for index, part in enumerate(style)]
    raise InvalidRequest(f"style is a {type(style).__name__}; give a picture, a name, or a mapping of them to weights")


def stylize_request(content: ImageLike, style: StyleLike, options: Options) -> pb.StylizeRequest:
    """Return the request for one picture. It raises the errors of the functions for its parts."""
    message = options_message(options)
    return pb.StylizeRequest(
        content=image_message(content, "content", metadata=message.keep_metadata),
        styles=style_messages(style),
        options=message,
    )


def setup_request(style: StyleLike, options: Options) -> pb.StylizeStreamRequest:
    """Return the first message of a stream."""
    setup = pb.StreamSetup(styles=style_messages(style), options=options_message(options))
    return pb.StylizeStreamRequest(setup=setup)


def frame_request(frame: ImageLike, number: int) -> pb.StylizeStreamRequest:
    """Return the message of one frame of a stream.

    Raises:
        InvalidImage: The message names the frame's number, counted from 0.
        OSError: A file cannot be read.
    """
    try:
        return pb.StylizeStreamRequest(content=image_message(frame, "content"))
    except InvalidImage as error:
        raise InvalidImage(f"frame {number}: {error}", error.field) from None


def create_request(name: str, style: StyleLike, overwrite: bool) -> pb.CreateStyleRequest:
    """Return the request that keeps a style under a name."""
    return pb.CreateStyleRequest(name=name, styles=style_messages(style), overwrite=overwrite)


def kept_style(message: pb.Style) -> Style:
    """Return a named style as a value."""
    return Style(
        name=message.name,
        model=message.model,
        create_time=message.create_time.ToDatetime(UTC),
        thumbnail_data=message.thumbnail.encoded,
        tuned=message.tuned,
        built_in=message.built_in,
        origin=message.origin,
    )


def stylized(response: pb.StylizeResponse, asked: Asked) -> Stylized:
    """Return an answer as a value.

    Raises:
        ServerError: The answer is not a picture of the format and the size that were asked for.
    """
    times = response.timings
    if response.image.WhichOneof("kind") == "pixels":
        pixels = response.image.pixels
        size, data, encoding = (pixels.width, pixels.height), pixels.rgb, "raw"
        asked.check_format("raw pixels")
        asked.check_size(*size)
        if len(data) != pixels.width * pixels.height * 3:
            raise ServerError(
                f"the server's answer has {len(data):,} bytes; {pixels.width}x{pixels.height} px of RGB are "
                f"{pixels.width * pixels.height * 3:,} bytes"
            )
    else:
        data = response.image.encoded
        try:
            with _open_answer(data) as image:
                size, form = image.size, str(image.format)
        except Exception as error:  # Pillow raises many kinds of errors for damaged files.
            raise ServerError(f"the server's answer of {len(data):,} bytes is not a picture: {error}") from None
        asked.check_format(form)
        asked.check_size(*size)
        encoding = _ANSWER_FORMATS[form]
    if size != (response.width, response.height):
        raise ServerError(
            f"the server's answer is {size[0]}x{size[1]} px; it says {response.width}x{response.height} px"
        )
    return Stylized(
        data=data,
        encoding=encoding,
        width=size[0],
        height=size[1],
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


def _open_answer(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=tuple(_ANSWER_FORMATS))
    if image.format not in _ANSWER_FORMATS:
        # Pillow opens an MPO file, which holds several pictures, by its JPEG plug-in.
        raise ValueError(f"it is a file of format {image.format}")
    return image


def _style_message(style: Any, name: str) -> pb.WeightedStyle:
    part = style if isinstance(style, WeightedStyle) else WeightedStyle(style)
    if isinstance(part.style, str) and STYLE_NAME.fullmatch(part.style):
        message = pb.WeightedStyle(name=part.style)
    else:
        message = pb.WeightedStyle(image=image_message(part.style, name))
    if not is_number(part.weight):
        raise InvalidRequest(f"{name}.weight is {part.weight!r}; it must be a finite number above 0", f"{name}.weight")
    if part.weight != 1.0:
        message.weight = float(part.weight)
    if part.mask is not None:
        message.mask.CopyFrom(image_message(part.mask, f"{name}.mask"))
    return message
