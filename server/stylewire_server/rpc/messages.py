"""Messages of the contract to values of the domain, and back."""

from collections.abc import Hashable, Iterable

import numpy as np
from stylewire.v1 import stylizer_pb2 as pb

from ..errors import InvalidInput
from ..imaging.codec import Encoding
from ..imaging.fit import Fit
from ..options import QUALITY, Options, Source, WeightedStyle
from ..styles.file import KeptStyle
from ..styles.store import check_name
from ..stylizer import Stylized

STYLES = "styles"
"""Kind of a job that only computes style vectors, for the scheduler. `kind` gives the kind of all other jobs."""

_FITS = {
    pb.FIT_UNSPECIFIED: Fit.CROP_256,
    pb.FIT_CROP_256: Fit.CROP_256,
    pb.FIT_SQUASH_256: Fit.SQUASH_256,
    pb.FIT_KEEP_256: Fit.KEEP_256,
    pb.FIT_NATIVE: Fit.NATIVE,
}

_ENCODINGS = {
    pb.ENCODING_UNSPECIFIED: None,
    pb.ENCODING_PNG: Encoding.PNG,
    pb.ENCODING_JPEG: Encoding.JPEG,
    pb.ENCODING_WEBP: Encoding.WEBP,
    pb.ENCODING_AVIF: Encoding.AVIF,
    pb.ENCODING_RAW_PIXELS: Encoding.RAW_PIXELS,
}


def source(image: pb.Image, field: str) -> Source:
    """Return an image of a request: the bytes of a file, or pixels uint8 [H,W,3].

    Raises:
        InvalidInput: The image is empty, or the number of bytes does not match its sides.
    """
    match image.WhichOneof("kind"):
        case "encoded":
            return image.encoded
        case "pixels":
            return _pixels(image.pixels, field)
        case _:
            raise InvalidInput(field, f"{field} is missing; give a JPEG, PNG or WebP file, or raw pixels")


def weighted_styles(styles: Iterable[pb.WeightedStyle]) -> list[WeightedStyle]:
    """Return the styles of a request.

    Raises:
        InvalidInput: A style has neither picture nor name, or its weight is not above 0.
    """
    return [_weighted_style(style, f"styles[{index}]") for index, style in enumerate(styles)]


def options(message: pb.StylizeOptions) -> Options:
    """Return the options of a request; options that are not set have their defaults.

    Raises:
        InvalidInput: A value is out of its range.
    """
    if message.fit not in _FITS:
        raise InvalidInput("options.fit", f"fit is {message.fit}; it must be one of {_names(pb.Fit.items())}")
    if message.encoding not in _ENCODINGS:
        raise InvalidInput(
            "options.encoding", f"encoding is {message.encoding}; it must be one of {_names(pb.Encoding.items())}"
        )
    return Options(
        strength=message.strength if message.HasField("strength") else 1.0,
        preserve_color=message.preserve_color,
        fit=_FITS[message.fit],
        encoding=_ENCODINGS[message.encoding],
        quality=message.quality or QUALITY,
        size=message.size or None,
        full_size=message.full_size,
        keep_metadata=message.keep_metadata,
    )


def kind(content: Source, options: Options, passes: int = 1) -> Hashable:
    """Return a key that jobs of about the same duration share, for the scheduler.

    The time for a picture that keeps its size grows with its pixels. The number of pixels is not known here, because
    the server opens a file only after the call is admitted. So the key has the length of the file in its place.
    """
    length = content.size if isinstance(content, np.ndarray) else len(content)
    work = options.fit, (options.size or 0).bit_length(), options.full_size, options.strength < 1.0, passes
    return *work, length.bit_length()


def response(result: Stylized, model: str, queue_ms: float) -> pb.StylizeResponse:
    """Return a finished picture as a message."""
    if result.encoding is Encoding.RAW_PIXELS:
        image = pb.Image(pixels=pb.Pixels(height=result.height, width=result.width, rgb=result.data))
    else:
        image = pb.Image(encoded=result.data)
    timings = pb.Timings(
        queue_ms=queue_ms,
        decode_ms=result.timings.decode_ms,
        predict_ms=result.timings.predict_ms,
        transform_ms=result.timings.transform_ms,
        encode_ms=result.timings.encode_ms,
        style_cached=result.timings.style_cached,
    )
    return pb.StylizeResponse(image=image, width=result.width, height=result.height, model=model, timings=timings)


def style(kept: KeptStyle) -> pb.Style:
    """Return a named style as a message."""
    message = pb.Style(
        name=kept.name,
        thumbnail=pb.Image(encoded=kept.thumbnail),
        model=kept.edition.name,
        tuned=kept.tuned,
        built_in=kept.built_in,
        origin=kept.origin,
    )
    message.create_time.FromDatetime(kept.create_time)
    return message


def _weighted_style(style: pb.WeightedStyle, field: str) -> WeightedStyle:
    weight = style.weight if style.HasField("weight") else 1.0
    mask = source(style.mask, f"{field}.mask") if style.HasField("mask") else None
    match style.WhichOneof("source"):
        case "name":
            check_name(style.name, f"{field}.name")
            return WeightedStyle(style.name, weight, field, mask)
        case "image":
            return WeightedStyle(source(style.image, f"{field}.image"), weight, field, mask)
    raise InvalidInput(field, f"{field} has neither an image nor a name")


def _pixels(pixels: pb.Pixels, field: str) -> np.ndarray:
    expected = pixels.height * pixels.width * 3
    if not expected:
        raise InvalidInput(field, f"{field} is {pixels.width}x{pixels.height} px; both sides must be above 0 px")
    if len(pixels.rgb) != expected:
        raise InvalidInput(
            field,
            f"{field} has {len(pixels.rgb):,} bytes; {pixels.width}x{pixels.height} px of RGB are {expected:,} bytes",
        )
    return np.frombuffer(pixels.rgb, np.uint8).reshape(pixels.height, pixels.width, 3)


def _names(members: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in members)
