"""Conversion of multipart forms to values of the domain. The size of a form is checked before it is read."""

import math
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ..errors import InvalidInput, shortened
from ..imaging.codec import Encoding
from ..imaging.fit import Fit
from ..options import Options, WeightedStyle
from ..settings import ServeSettings
from ..styles.store import check_name
from .guard import body_deadline
from .problems import Refusal

_FIELD_BYTES = 1024
"""Maximum bytes of a field that is not a file. The longest value is the name of a style."""

_OPTION_FIELDS = 16
"""Maximum number of fields other than styles and their weights."""

_TRUE, _FALSE = frozenset({"true", "1", "on", "yes"}), frozenset({"false", "0", "off", "no", ""})

OPTION_FIELDS = frozenset(
    {"strength", "preserve_color", "fit", "size", "full_size", "encoding", "quality", "keep_metadata"}
)

ENCODINGS = {each.lower(): each for each in Encoding if each not in {Encoding.RAW_PIXELS, Encoding.RAW_FLOATS}}
"""Name of the form field -> encoding. Raw pixels have no media type, so HTTP has none."""


@dataclass(frozen=True)
class Limits:
    """The limits on a form.

    Args:
        body_bytes: Bytes of the whole body.
        styles: Number of styles.
    """

    body_bytes: int
    styles: int

    @classmethod
    def of(cls, settings: ServeSettings) -> "Limits":
        """Return the limits of the settings, which gRPC uses too."""
        return cls(settings.max_message_bytes, settings.max_styles)


class _Parser(MultiPartParser):
    # The parser writes larger files to the disk. This limit is never reached, so pictures stay in memory.
    spool_max_size = 2**40


def check_head(request: Request, limits: Limits) -> None:
    """Check the content type and the length in the headers, before the body is read.

    Raises:
        Refusal: The body is no multipart form (415), or longer than the limit (413).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        given = shortened(media_type) if media_type else "missing"
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            f"content-type is {given}; it must be multipart/form-data",
        )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise _too_large(int(length), limits)


async def read_form(request: Request, limits: Limits) -> FormData:
    """Read a multipart form into memory.

    Raises:
        Refusal: The body is longer than the limit.
        DeadlinePassed: The body did not arrive within `MESSAGE_SECONDS`.
        InvalidInput: The body is not a form, or has too many fields.
    """
    parser = _Parser(
        request.headers,
        _bounded(request, limits),
        # One content, and a style and a mask for each style. The functions below count each kind.
        max_files=2 * limits.styles + 1,
        max_fields=2 * limits.styles + _OPTION_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        async with body_deadline():
            return await parser.parse()
    except MultiPartException as error:
        raise InvalidInput("", f"the form cannot be read: {error.message[:1].lower()}{error.message[1:]}") from None


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > limits.body_bytes:
            raise _too_large(length, limits)
        yield chunk


def _too_large(length: int, limits: Limits) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "content-length",
        f"the body has {length:,} bytes or more; the limit is {limits.body_bytes:,} bytes",
        value=length,
        limit=limits.body_bytes,
        unit="bytes",
    )


def check_fields(form: FormData, known: Iterable[str]) -> None:
    """Raise InvalidInput for an unknown field, so that a misspelled option is not ignored."""
    known = set(known)
    for name in form:
        if name not in known:
            raise InvalidInput(
                name[:80], f"{shortened(name)} is not a field of this form; its fields are {', '.join(sorted(known))}"
            )


async def content(form: FormData) -> bytes:
    """Return the bytes of the content picture.

    Raises:
        InvalidInput: The form has no content, or more than one.
    """
    found = form.getlist("content")
    if len(found) != 1 or not isinstance(found[0], UploadFile):
        raise InvalidInput("content", f"content is given as {_describe(found)}; give exactly 1 file")
    return await found[0].read()


def _describe(found: list[UploadFile | str]) -> str:
    files = sum(isinstance(each, UploadFile) for each in found)
    return f"{files} files and {len(found) - files} texts"


async def styles(form: FormData, limits: Limits) -> list[WeightedStyle]:
    """Return the styles of a form. Each `style` is a file or a name, and may have a `weight` and a `mask`.

    Raises:
        InvalidInput: There are too many styles, or a weight, name or mask is not valid.
    """
    given = [each for each in form.getlist("style") if isinstance(each, UploadFile) or each.strip()]
    weights, masks = _weights(form, len(given)), await _masks(form, len(given))
    if len(given) > limits.styles:
        message = f"styles has {len(given)} styles; the limit is {limits.styles} styles"
        raise InvalidInput("styles", message, value=len(given), limit=limits.styles, unit="styles")
    return [
        await _style(source, weight, mask, f"styles[{index}]")
        for index, (source, weight, mask) in enumerate(zip(given, weights, masks, strict=True))
    ]


def _weights(form: FormData, count: int) -> list[float]:
    found = [_number(form, "weight", index) for index in range(len(form.getlist("weight")))]
    if found and len(found) != count:
        raise InvalidInput("weight", f"{len(found)} weights are given for {count} styles; give one for each, or none")
    return found or [1.0] * count


async def _masks(form: FormData, count: int) -> list[bytes | None]:
    """Return the mask of each style. An empty text in place of a file means no mask."""
    found = form.getlist("mask")
    if found and len(found) != count:
        raise InvalidInput("mask", f"{len(found)} masks are given for {count} styles; give one for each, or none")
    masks: list[bytes | None] = []
    for index, mask in enumerate(found):
        if isinstance(mask, UploadFile):
            masks.append(await mask.read())
        elif mask.strip():
            raise InvalidInput(f"styles[{index}].mask", f"styles[{index}].mask is a text; it must be a file, or empty")
        else:
            masks.append(None)
    return masks or [None] * count


async def _style(source: UploadFile | str, weight: float, mask: bytes | None, field: str) -> WeightedStyle:
    if isinstance(source, UploadFile):
        return WeightedStyle(await source.read(), weight, field, mask)
    check_name(source.strip(), f"{field}.name")
    return WeightedStyle(source.strip(), weight, field, mask)


def options(form: FormData) -> Options:
    """Return the options of a form. Missing fields get the defaults of `Options`.

    Raises:
        InvalidInput: A value is out of its range.
    """
    given = Options()
    return Options(
        strength=_number(form, "strength") if "strength" in form else given.strength,
        preserve_color=flag(form, "preserve_color"),
        fit=Fit(_choice(form, "fit", [fit.value for fit in Fit])) if "fit" in form else given.fit,
        size=(_whole(form, "size") or None) if "size" in form else given.size,
        full_size=flag(form, "full_size"),
        keep_metadata=flag(form, "keep_metadata"),
        encoding=ENCODINGS[_choice(form, "encoding", ENCODINGS)] if "encoding" in form else given.encoding,
        quality=_whole(form, "quality") if "quality" in form else given.quality,
    )


def flag(form: FormData, name: str) -> bool:
    """Return the value of a field that is true or false; False if the field is missing.

    Raises:
        InvalidInput: The field is neither true nor false.
    """
    given = text(form, name).lower()
    if given in _TRUE or given in _FALSE:
        return given in _TRUE
    raise InvalidInput(f"options.{name}", f"{name} is {shortened(given)}; it must be true or false")


def text(form: FormData, name: str, index: int = 0) -> str:
    """Return the text of a field; empty if the field is missing.

    Raises:
        InvalidInput: The field is a file.
    """
    found = form.getlist(name)
    if index >= len(found):
        return ""
    value = found[index]
    if isinstance(value, UploadFile):
        raise InvalidInput(name, f"{name} is a file; it must be a text")
    return value.strip()


def _number(form: FormData, name: str, index: int = 0) -> float:
    given = text(form, name, index)
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(_field(name), f"{name} is {shortened(given)}; it must be a number")
    return number


def _whole(form: FormData, name: str) -> int:
    number = _number(form, name)
    if number != int(number):
        raise InvalidInput(_field(name), f"{name} is {number:g}; it must be a whole number")
    return int(number)


def _choice(form: FormData, name: str, choices: Iterable[str]) -> str:
    given = text(form, name).lower()
    if given not in choices:
        raise InvalidInput(_field(name), f"{name} is {shortened(given)}; it must be one of {', '.join(choices)}")
    return given


def _field(name: str) -> str:
    return f"options.{name}" if name in OPTION_FIELDS else name
