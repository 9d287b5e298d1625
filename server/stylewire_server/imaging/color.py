"""Keeping the content's colours."""

import io
import logging
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B in luma: ITU-R BT.601, the matrix of JPEG's YCbCr."""


def preserve_color(picture: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Luma of the picture, chroma of the content; both [...,3] of one shape and type, uint8 or float32 in 0..1.

    Cb and Cr are multiples of B - Y and R - Y, so a picture keeps them when R, G and B all move by the change of Y.
    Adding that change in float32 avoids the banding of an 8-bit YCbCr round trip. Where the sum leaves the gamut it
    is clipped. Gatys et al. 2016 (Preserving Color in Neural Artistic Style Transfer), section 4, does the same in YIQ.
    """
    change = (picture.astype(np.float32) - content) @ LUMA
    moved = content + change[..., np.newaxis]
    if picture.dtype == np.uint8:
        return np.clip(np.rint(moved), 0, 255).astype(np.uint8)
    return np.clip(moved, 0.0, 1.0).astype(picture.dtype)


log = logging.getLogger(__name__)

_SRGB = frozenset({"sRGB", "sRGB built-in", "sRGB IEC61966-2.1", "sRGB IEC61966-2-1", "GIMP built-in sRGB", "c2"})
"""Names of profiles that say what is taken for granted without one. Others are computed, sRGB or not."""

_KEPT_BYTES = 64 * 2**10
"""Of a profile whose transform is kept: a screen's or camera's takes 1 to 10 kB, and strangers choose what is kept."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture of mode L, RGB or CMYK in mode RGB, by its ICC profile; one that cannot be used is ignored."""
    if profile:
        make = kept_transform if len(profile) <= _KEPT_BYTES else _transform
        try:
            transform = make(profile, image.mode)
            if transform is not None:
                converted = ImageCms.applyTransform(image, transform)
                return converted if converted is not None else image
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            log.info("ignoring an unusable colour profile: %s", error)
    return image if image.mode == "RGB" else image.convert("RGB")


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What brings pixels of that profile to sRGB; None where they are sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "RGB" and ImageCms.getProfileDescription(source).strip() in _SRGB:
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


kept_transform = lru_cache(maxsize=32)(_transform)
