"""Conversion of picture files to pixels and back, within limits. Pixels are uint8 [H,W,3] sRGB."""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from ..errors import InvalidInput
from . import png
from .budgets import HELD_BYTES, WHOLE_COST, DecodeBudget
from .color import from_srgb
from .decode import check_size, decode, open_file, usable
from .exif import EXIF_PREFIX, orientation, upright
from .file import Encoding, PictureFile
from .fit import Fit, Plan, Size, flip, plan_for, resize, resize_floats
from .limits import ImageLimits, format_over_limit

__all__ = [
    "SUFFIXES",
    "Encoding",
    "Metadata",
    "Picture",
    "check_encoding",
    "check_length",
    "encode",
    "held_pixels",
    "load",
    "load_mask",
    "sizes",
]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Endings of the files that the server reads from a folder."""

_MAX_SIDES = {Encoding.JPEG: 65_500, Encoding.WEBP: 16_383, Encoding.AVIF: 16_384}
"""Maximum side of a result in pixels: the limits of libjpeg, libwebp and libavif."""

_MAX_PIXELS = {Encoding.AVIF: 2**22}
"""Maximum pixels of a result. The encoder of AVIF takes 0.25 CPU seconds and 40 MB a Mpx, and cannot be stopped."""

_MAX_EXIF_BYTES = 65_533 - 6
"""Maximum bytes of EXIF data in a JPEG segment. Longer EXIF data are left out of a result."""


@dataclass(frozen=True)
class Metadata:
    """The metadata of a content's file that a result can keep.

    Args:
        profile: The ICC profile.
        exif: The EXIF data, with the orientation of the file.
    """

    profile: bytes | None = None
    exif: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """A picture as the network takes it.

    Args:
        pixels: Pixels [H,W,3]: float32 if they came as floats, else uint8.
        encoding: The encoding of the source.
        plan: The crop and the size that the network takes.
        metadata: The profile and EXIF data of the file.
    """

    pixels: np.ndarray
    encoding: Encoding
    plan: Plan
    metadata: Metadata = Metadata()


def load(
    source: bytes | np.ndarray,
    fit: Fit,
    limits: ImageLimits,
    field: str,
    side: int | None = None,
    budget: DecodeBudget | None = None,
    *,
    passes: int = 1,
    full_size: bool = False,
) -> Picture:
    """Return a picture as the network takes it.

    Args:
        source: A JPEG, PNG or WebP file, or pixels [H,W,3], uint8 or float32 in 0..1.
        fit: The part of the picture that is used, and its size.
        limits: The limits on the picture.
        field: Name of the picture in the request, for messages.
        side: Side in pixels, as for `plan_for`.
        budget: Pixels that the call may still decode; None for no limit.
        passes: Number of passes through the network, as for `plan_for`.
        full_size: True to keep the size of the used part. The plan still has the size that the network takes.

    Raises:
        InvalidInput: The picture cannot be decoded, or is outside the limits.
    """
    if isinstance(source, np.ndarray):
        size = (source.shape[1], source.shape[0])
        check_size(size, limits, field)
        plan = plan_for(size, fit, limits, field, side, passes)
        wanted = plan.full if full_size else plan
        if source.dtype == np.float32:
            _check_levels(source, field)
            return Picture(resize_floats(source, wanted), Encoding.RAW_FLOATS, plan)
        if wanted.target == size:
            return Picture(source, Encoding.RAW_PIXELS, plan)
        return Picture(np.asarray(resize(Image.fromarray(source), wanted)), Encoding.RAW_PIXELS, plan)
    file = open_file(source, limits, field)
    plan = plan_for(_upright_size(file), fit, limits, field, side, passes)
    if budget is not None:
        budget.spend(_cost(file), field)
    pixels = np.asarray(decode(file, plan.full if full_size else plan, len(source), field))
    return Picture(pixels, file.encoding, plan, Metadata(file.profile, file.exif))


MASK_SOFTNESS = 0.01
"""Radius of the blur of a mask's edges, as a share of the picture's shorter side."""


def load_mask(
    source: bytes | np.ndarray, plan: Plan, limits: ImageLimits, field: str, budget: DecodeBudget
) -> np.ndarray:
    """Return the mask of a content, float32 [H,W] in 0..1, with soft edges.

    Args:
        source: A picture of any size, which covers the content. Its gray levels are used; white is 1.
        plan: The crop and size of the content.
        limits: The limits on the mask.
        field: Name of the mask in the request, for messages.
        budget: Pixels that the call may still decode.

    Raises:
        InvalidInput: The mask cannot be decoded, or is outside the limits.
    """
    if isinstance(source, np.ndarray):
        size = (source.shape[1], source.shape[0])
        check_size(size, limits, field)
        image = resize(Image.fromarray(source).convert("L"), plan.of(size))
    else:
        file = open_file(source, limits, field)
        budget.spend(_cost(file), field)
        image = decode(file, plan.of(_upright_size(file)), len(source), field).convert("L")
    soft = image.filter(ImageFilter.GaussianBlur(MASK_SOFTNESS * min(image.size)))
    return np.asarray(soft, np.float32) / np.float32(255.0)


def sizes(
    source: bytes | np.ndarray, fit: Fit, limits: ImageLimits, field: str, side: int | None = None
) -> tuple[int, int]:
    """Return a picture's cost in pixels and the pixels that `load` would bring to the network; reads the header only.

    Raises:
        InvalidInput: As for `load`.
    """
    if isinstance(source, np.ndarray):
        size = (source.shape[1], source.shape[0])
        return math.prod(size), math.prod(plan_for(size, fit, limits, field, side).target)
    file = open_file(source, limits, field)
    return _cost(file), math.prod(plan_for(_upright_size(file), fit, limits, field, side).target)


def held_pixels(source: bytes | np.ndarray, fit: Fit, limits: ImageLimits, side: int | None, full_size: bool) -> int:
    """Return the pixels in which `load` would return a content, by its header.

    Raises:
        InvalidInput: As for `load`; or a result of full size has more pixels than the memory for it.
    """
    if isinstance(source, np.ndarray):
        size = (source.shape[1], source.shape[0])
    else:
        size = _upright_size(open_file(source, limits, "content"))
    plan = plan_for(size, fit, limits, "content", side)
    if not full_size:
        return math.prod(plan.target)
    size, limit = plan.full.target, limits.max_held_bytes // HELD_BYTES
    if math.prod(size) > limit:
        raise InvalidInput(
            "options.full_size",
            f"the result is {size[0]}x{size[1]} px = {format_over_limit(math.prod(size), limit)} with full_size; "
            "leave full_size out, or make the picture smaller",
            value=math.prod(size),
            limit=limit,
            unit="px",
        )
    return math.prod(size)


def _cost(file: PictureFile) -> int:
    return math.prod(file.size) * (WHOLE_COST if file.whole else 1)


def _upright_size(file: PictureFile) -> Size:
    return flip(file.size) if orientation(file.exif) >= 5 else file.size


_BYTES_PER_PIXEL = {Encoding.PNG: 3, Encoding.RAW_PIXELS: 3, Encoding.RAW_FLOATS: 12}
"""Bytes per pixel of a lossless result. For PNG it is the maximum, because the real size is known only afterwards."""


def check_encoding(size: Size, encoding: Encoding, max_bytes: int | None = None) -> None:
    """Raise InvalidInput if an encoding cannot hold a picture of that size, or needs more than `max_bytes`."""
    longest, most = _MAX_SIDES.get(encoding), _MAX_PIXELS.get(encoding)
    result = f"the result is {size[0]}x{size[1]} px"
    if longest is not None and max(size) > longest:
        raise InvalidInput("content", f"{result}; a side of a {encoding} file is at most {longest:,} px; ask for PNG")
    if most is not None and math.prod(size) > most:
        over = format_over_limit(math.prod(size), most)
        raise InvalidInput("content", f"{result} = {over} for {encoding}; ask for JPEG, PNG or WebP")
    length = math.prod(size) * _BYTES_PER_PIXEL.get(encoding, 0)
    if max_bytes is not None and length > max_bytes:
        raise InvalidInput(
            "options.encoding",
            f"{result}, up to {length:,} bytes as {encoding}; the limit of a result is {max_bytes:,} bytes; "
            "ask for JPEG or WebP",
            value=length,
            limit=max_bytes,
            unit="bytes",
        )


def check_length(data: bytes, max_bytes: int | None) -> None:
    """Raise InvalidInput for a finished file of more than that many bytes."""
    if max_bytes is not None and len(data) > max_bytes:
        raise InvalidInput(
            "options.quality",
            f"the result is {len(data):,} bytes; the limit of a result is {max_bytes:,} bytes; "
            "ask for JPEG with a lower quality, or for a smaller size",
            value=len(data),
            limit=max_bytes,
            unit="bytes",
        )


def encode(pixels: np.ndarray, encoding: Encoding, quality: int = 90, metadata: Metadata | None = None) -> bytes:
    """Return pixels as a file.

    Args:
        pixels: [H,W,3], uint8 or float32 in 0..1, sRGB.
        encoding: The format. `RAW_FLOATS` are float32, little-endian.
        quality: 1..100 for JPEG, WebP and AVIF.
        metadata: Metadata of the content for the file. The profile is kept if it describes RGB by a matrix with
            curves; the pixels are then converted to it. The EXIF data get the orientation "upright".
    """
    if encoding is Encoding.RAW_FLOATS:
        levels = pixels if pixels.dtype == np.float32 else pixels.astype(np.float32) / np.float32(255.0)
        return np.clip(levels, 0.0, 1.0).astype("<f4").tobytes()
    if pixels.dtype == np.float32:
        pixels = np.clip(np.rint(pixels * 255.0), 0, 255).astype(np.uint8)
    if encoding is Encoding.RAW_PIXELS:
        return pixels.tobytes()
    pixels, kept = _with_metadata(pixels, metadata or Metadata())
    if encoding is Encoding.PNG:
        return png.write(pixels, png.metadata_chunks(kept.get("icc_profile"), kept.get("exif")))
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    if encoding is Encoding.JPEG:
        # 4:4:4, because the strokes of a style are colored edges.
        image.save(out, "JPEG", quality=quality, subsampling=0, **kept)
    elif encoding is Encoding.WEBP:
        image.save(out, "WEBP", quality=quality, method=0, **kept)
    else:
        # One thread: the threads of the machine belong to the network.
        image.save(out, "AVIF", quality=quality, subsampling="4:4:4", speed=_AVIF_SPEED, max_threads=1, **kept)
    return out.getvalue()


_AVIF_SPEED = 9
"""The encoder's effort, from 0 (most) to 10. 8 takes five times the CPU time of 9 for a file 5 % smaller."""


def _with_metadata(pixels: np.ndarray, metadata: Metadata) -> tuple[np.ndarray, dict[str, bytes]]:
    """Return the pixels in the colors of the profile that is kept, and Pillow's arguments for the metadata."""
    kept: dict[str, bytes] = {}
    profile = usable(metadata.profile) if metadata.profile else None
    if profile is not None and metadata.profile and profile.invertible:
        kept["icc_profile"] = metadata.profile
        pixels = np.asarray(from_srgb(Image.fromarray(pixels), profile))
    if metadata.exif and len(metadata.exif) <= _MAX_EXIF_BYTES:
        # Only JPEG files hold it with this prefix, which Pillow takes off for the others.
        kept["exif"] = EXIF_PREFIX + upright(metadata.exif).removeprefix(EXIF_PREFIX)
    return pixels, kept


def _check_levels(pixels: np.ndarray, field: str) -> None:
    low, high = float(pixels.min()), float(pixels.max())
    # NaN fails every comparison, and min and max hand it on.
    if not (low >= 0.0 and high <= 1.0):
        raise InvalidInput(
            field, f"{field} has values from {low:.9g} to {high:.9g}; floating-point pixels are from 0 to 1"
        )
