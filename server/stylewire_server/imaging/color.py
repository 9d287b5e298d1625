"""Colors: conversion between a profile and sRGB, and keeping the content's colors."""

import io
import logging
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from . import hdr
from .profiles import Profile

log = logging.getLogger(__name__)

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of R, G and B in luma: ITU-R BT.601, the matrix of JPEG's YCbCr."""


_PART = 2**16
"""Pixels that are worked on at one time. In float32 they take ten times the memory of the picture."""


def preserve_color(picture: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Return the luma of a picture with the chroma of its content.

    Both are [...,3] of one shape and type, uint8 or float32 in 0..1.

    Cb and Cr are multiples of B - Y and R - Y. A picture keeps them when R, G and B all change by the change of Y.
    Adding it in float32 avoids the banding of an 8-bit YCbCr round trip. A sum outside of the gamut is clipped. Gatys
    et al. 2016 (Preserving Color in Neural Artistic Style Transfer), section 4, does the same in YIQ.
    """
    result = np.empty_like(picture)
    flat = [each.reshape(-1, 3) for each in (picture, content, result)]
    for start in range(0, len(flat[0]), _PART):
        made, given, out = (each[start : start + _PART] for each in flat)
        change = (made.astype(np.float32) - given) @ LUMA
        moved = given + change[:, np.newaxis]
        if picture.dtype == np.uint8:
            np.clip(np.rint(moved), 0, 255, out=out, casting="unsafe")
        else:
            np.clip(moved, 0.0, 1.0, out=out)
    return result


_KEPT_BYTES = 64 * 2**10
"""Maximum bytes of a profile whose transform is cached, because callers choose profiles. A matrix with curves takes
0.5 to 20 kB."""

_SAMPLES = np.stack(np.meshgrid(*[np.linspace(0, 255, 9).round().astype(np.uint8)] * 3), -1).reshape(27, 27, 3)
"""Colors on a grid, to see whether a profile is sRGB."""


def to_srgb(image: Image.Image, profile: Profile | hdr.HdrColors | None) -> Image.Image:
    """Return a picture of mode L, RGB or CMYK in mode RGB and sRGB; a profile of other pixels is ignored."""
    if isinstance(profile, hdr.HdrColors):
        return hdr.to_srgb(image.convert("RGB"), profile)
    if profile is not None:
        if profile.mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if profile.mode == image.mode:
            image = _applied(image, profile, inverse=False)
    return image if image.mode == "RGB" else image.convert("RGB")


def from_srgb(image: Image.Image, profile: Profile) -> Image.Image:
    """Return an sRGB picture in the colors of an RGB profile that is a matrix with curves."""
    return _applied(image, profile, inverse=True)


def _applied(image: Image.Image, profile: Profile, inverse: bool) -> Image.Image:
    make = kept_transform if len(profile.data) <= _KEPT_BYTES else _transform
    try:
        transform = make(profile, inverse)
        if transform is None:
            return image
        converted = ImageCms.applyTransform(image, transform)
        return image if converted is None else converted
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.info("ignoring an unusable color profile: %s", error)
        return image


def _transform(profile: Profile, inverse: bool) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, or back; None if the profile is sRGB within 1 level of 255."""
    described = ImageCms.ImageCmsProfile(io.BytesIO(profile.data))
    srgb = ImageCms.createProfile("sRGB")
    if inverse:
        transform = ImageCms.buildTransform(srgb, described, "RGB", "RGB")
    else:
        transform = ImageCms.buildTransform(described, srgb, profile.mode, "RGB")
    if profile.mode == "RGB":
        samples = np.asarray(ImageCms.applyTransform(Image.fromarray(_SAMPLES), transform), np.int16)
        if np.abs(samples - _SAMPLES).max() <= 1:
            return None
    return transform


kept_transform = lru_cache(maxsize=32)(_transform)
