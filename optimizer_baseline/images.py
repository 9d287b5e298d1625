"""Reading, resizing and writing pictures. Pixels inside the program are float32 [1, H, W, 3], RGB, 0..1."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging import decode, exif
from stylewire_server.imaging.fit import Plan
from stylewire_server.imaging.limits import ImageLimits

from .errors import InvalidImage, InvalidOption

Pixels: TypeAlias = NDArray[np.float32]
Picture: TypeAlias = "str | Path | bytes | Image.Image | NDArray[Any]"

# Suffixes of files that are written, and of files that are read from a folder.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Maximum pixels of a picture that is decoded, and of one that is optimized.
MAX_DECODED_PIXELS = 64_000_000
MAX_PIXELS = 4_000_000
_UNBOUNDED = 2**40
# The files are the user's own, so only the pixels are bounded.
_LIMITS = ImageLimits(_UNBOUNDED, MAX_DECODED_PIXELS, _UNBOUNDED, _UNBOUNDED, min_side=1)
# Rec. 601 luma and the two chroma axes of NTSC: the YIQ of Gatys et al. 2017, section 5.1.
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def load(picture: Picture, what: str = "picture", background: str = "white") -> Image.Image:
    """Return a picture as an upright sRGB PIL image, read with the server's reader.

    JPEG, PNG and WebP files are read as the server reads them, with the same checks. Other files, and PIL images, are
    opened by Pillow; orientation, color profile and transparency are handled in the same way.

    Args:
        picture: A path, the bytes of a file, a PIL image, uint8 [H, W, 3] or float [H, W, 3] in 0..1 (with or without
            a leading axis of 1).
        what: Name of the picture in error messages.
        background: The color behind transparent parts.

    Raises:
        InvalidImage: The file does not exist, is not a picture, is damaged, or has more than 64 Mpx. The size is
            checked before the file is decoded.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture, what)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, what, background)
    if not isinstance(picture, (str, Path, bytes)):
        raise InvalidImage(
            f"{what} is {type(picture).__name__}; expected a path, the bytes of a file, a PIL image or an array"
        )
    if isinstance(picture, bytes):
        return _from_file(picture, what, f"{what}: the bytes given", background)
    try:
        data = Path(picture).read_bytes()
    except FileNotFoundError:
        raise InvalidImage(f"{what}: no file {picture}") from None
    except OSError as error:
        raise InvalidImage(f"{what}: cannot read {picture}: {error.strerror}") from None
    return _from_file(data, what, f"{what}: {picture}", background)


def _from_file(data: bytes, what: str, name: str, background: str) -> Image.Image:
    if decode.encoding_of(data) is None:
        try:
            return _from_pil(Image.open(io.BytesIO(data)), what, background)
        except UnidentifiedImageError:
            raise InvalidImage(f"{name} is not a picture in a format that can be read") from None
        except Image.DecompressionBombError as error:
            raise InvalidImage(f"{what}: {error}") from None
    try:
        file = decode.open_file(data, _LIMITS, name)
        size = file.size[::-1] if exif.orientation(file.exif) in decode.TURNED else file.size
        return decode.decode(file, Plan(size, (0, 0), size), len(data), name, background)
    except InvalidInput as error:
        raise InvalidImage(str(error)) from None


def _from_pil(image: Image.Image, what: str, background: str) -> Image.Image:
    try:
        decode.check_size(image.size, _LIMITS, what)
        image.load()
        profile = image.info.get("icc_profile")
        gray = image.mode in {"1", "L", "LA", "La", "I", "F", "I;16"}
        if image.mode in {"I", "F"}:
            image = _eight_bit(image, what)
        plan = Plan(image.size, (0, 0), image.size)
        colors = decode.usable(profile) if profile else None
        rgb = decode.to_rgb(image, plan, colors, gray, background)
        return decode.turn_upright(rgb, exif.orientation(image.info.get("exif")))
    except InvalidInput as error:
        raise InvalidImage(str(error)) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, InvalidImage):
            raise
        raise InvalidImage(f"{what} cannot be decoded: {error}") from None


def _eight_bit(image: Image.Image, what: str) -> Image.Image:
    """Return a gray image of 16 bits, or of floats in 0..1, with 8 bits."""
    values = np.asarray(image, np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if not (values.min() >= 0.0 and values.max() <= top):
        raise InvalidImage(
            f"{what} has values in {values.min():.3g}..{values.max():.3g}; those of mode {image.mode} are in 0..{top:g}"
        )
    return Image.fromarray((values / top * 255.0 + 0.5).astype(np.uint8))


def _from_array(array: NDArray[Any], what: str) -> Image.Image:
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InvalidImage(f"{what} is an array of shape {array.shape}; expected [H, W, 3]")
    if array.dtype == np.uint8:
        return Image.fromarray(array)
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise InvalidImage(f"{what} is an array of {array.dtype}; expected uint8, or finite floats in 0..1")
    if array.min() < 0 or array.max() > 1:
        raise InvalidImage(f"{what} has values in {array.min():.9g}..{array.max():.9g}; floats are in 0..1")
    return to_image(array[None].astype(np.float32))


def files(sources: Sequence[str | Path]) -> list[Path]:
    """Return the files, with each folder replaced by its pictures (.png .jpg .jpeg .webp), sorted by name.

    Raises:
        InvalidOption: A path does not exist, or a folder has no picture.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InvalidOption(f"no picture in {source}; looked for {' '.join(SUFFIXES)}")
            found += inside
        elif source.exists():
            found.append(source)
        else:
            raise InvalidOption(f"no file or folder {source}")
    return found


def as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """Return one picture or several (a list or tuple) as a list."""
    return list(pictures) if isinstance(pictures, (list, tuple)) else [cast("Picture", pictures)]


def to_pixels(image: Image.Image) -> Pixels:
    """Return an image as float32 [1, H, W, 3] in 0..1."""
    pixels: Pixels = np.asarray(image.convert("RGB"), np.float32)[None] / np.float32(255.0)
    return pixels


def to_image(pixels: NDArray[Any]) -> Image.Image:
    """Return [1, H, W, 3] as a PIL image; values are clipped to 0..1 and rounded to 8 bits."""
    return Image.fromarray((np.clip(pixels[0], 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def fit(image: Image.Image, longer_side: int | None, limit: int | None = MAX_PIXELS) -> Image.Image:
    """Return `image` with its longer side at `longer_side` pixels and its aspect ratio kept; unchanged for None.

    Raises:
        InvalidImage: The result would have more than `limit` pixels.
    """
    width, height = fitted_size(image.size, longer_side)
    if limit is not None and width * height > limit:
        raise InvalidImage(
            f"picture of {width}x{height} px = {width * height / 1e6:.1f} Mpx is over the limit of "
            f"{limit / 1e6:.1f} Mpx; choose a smaller size"
        )
    return resize(image, width, height)


def fitted_size(size: tuple[int, int], longer_side: int | None) -> tuple[int, int]:
    """Return (width, height) with the longer side at `longer_side` pixels; unchanged for None."""
    if longer_side is None:
        return size
    if longer_side < 1:
        raise InvalidOption(f"size is {longer_side} px; the minimum is 1 px")
    factor = longer_side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def save(pixels: Pixels, path: Path, bits: int = 8) -> None:
    """Write pixels [1, H, W, 3] in 0..1 as a picture. The suffix decides the format.

    Args:
        bits: Depth of each of R, G and B: 8, or 16 for a PNG.

    Raises:
        InvalidOption: The depth is another one, or is 16 bits in a format other than PNG.
    """
    check_bits(path, bits)
    if bits == 8:
        to_image(pixels).save(path, quality=95)
        return
    # Pillow writes no RGB of 16 bits.
    import tensorflow as tf

    levels = (np.clip(pixels[0].astype(np.float64), 0.0, 1.0) * 65535.0 + 0.5).astype(np.uint16)
    path.write_bytes(tf.io.encode_png(levels).numpy())


def check_bits(path: Path, bits: int) -> None:
    """Raise InvalidOption if `save` cannot write that depth to that file."""
    if bits not in (8, 16):
        raise InvalidOption(f"depth is {bits} bits; it is 8 or 16")
    if bits == 16 and path.suffix.lower() != ".png":
        raise InvalidOption(f"{path} has suffix {path.suffix!r}; 16 bits are for .png")


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return `image` resized to exactly width x height (Lanczos)."""
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def crop_to_shape(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the largest centered part of `image` with the aspect ratio of width x height."""
    scale = min(image.width / width, image.height / height)
    w, h = max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))
    left, top = (image.width - w) // 2, (image.height - h) // 2
    return image.crop((left, top, left + w, top + h))


def resize_pixels(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return float pixels resized (bicubic) without rounding to 8 bits, clipped to 0..1."""
    if pixels.shape[1:3] == (height, width):
        return pixels
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(pixels[0, :, :, c])).resize((width, height), Image.Resampling.BICUBIC)
        )
        for c in range(pixels.shape[3])
    ]
    return _clipped(np.stack(planes, -1)[None])


def refine(coarse: Pixels, start: Pixels) -> Pixels:
    """Return `start` plus the changes of the coarser scale. The fine detail of `start` stays.

    start + up(coarse - down(start)): the coarse-grid correction of multigrid (Brandt 1977, full approximation scheme).
    Enlarging `coarse` alone would begin every scale with a blurred picture.
    """
    height, width = start.shape[1:3]
    rows, columns = coarse.shape[1:3]
    before = resize_pixels(resize_pixels(start, rows, columns), height, width)
    return _clipped(start + resize_pixels(coarse, height, width) - before)


def load_mask(mask: Picture, width: int, height: int) -> Pixels:
    """Return a gray picture as float32 [1, H, W, 1]: 1 (white) where its style goes, 0 (black or clear) elsewhere.

    Raises:
        InvalidImage: The picture cannot be read, or is black everywhere.
    """
    if isinstance(mask, np.ndarray) and (mask.ndim == 2 or mask.shape[2:] == (1,)):
        mask = np.repeat(mask.reshape(*mask.shape[:2], 1), 3, axis=2)
    gray = load(mask, "mask", background="black").convert("L").resize((width, height), Image.Resampling.BOX)
    values: Pixels = np.asarray(gray, np.float32)[None, :, :, None] / np.float32(255.0)
    if values.max() == 0.0:
        raise InvalidImage("mask is black everywhere: its style would go nowhere")
    return values


def luminance(pixels: Pixels) -> Pixels:
    """Return the Y of YIQ in all three channels, [1, H, W, 3]."""
    gray: Pixels = pixels @ RGB_TO_YIQ[0].astype(np.float32)
    return np.repeat(gray[..., None], 3, axis=3)


def match_luminance(style: Pixels, content: Pixels) -> Pixels:
    """Return a gray `style` with mean and spread of `content`'s luminance (Gatys et al. 2017, equation 10)."""
    y = luminance(style)
    target = luminance(content)
    spread = float(y.std()) or 1.0
    return _clipped((y - y.mean()) * (float(target.std()) / spread) + target.mean())


def with_color_of(pixels: Pixels, content: Pixels) -> Pixels:
    """Return the luminance of `pixels` with the chroma (I, Q) of `content`, clipped to 0..1."""
    yiq = content @ RGB_TO_YIQ.T
    yiq[..., 0] = luminance(pixels)[..., 0]
    return _clipped(yiq @ np.linalg.inv(RGB_TO_YIQ).T)


def _clipped(values: NDArray[Any]) -> Pixels:
    clipped: Pixels = np.clip(values, 0.0, 1.0).astype(np.float32)
    return clipped
