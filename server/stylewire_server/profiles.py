"""Colour profiles: pixels of any to sRGB."""

import io
import logging
from functools import lru_cache

from PIL import Image, ImageCms

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
