"""Conversion of HDR pictures (PQ and HLG) to sRGB, within 1 level of 255 of Chromium on a screen without HDR."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .profiles import BT2020_PRIMARIES, SRGB_PRIMARIES, Primaries, between

PQ, HLG = 16, 18
"""Codes of the transfer characteristics (ITU-T H.273, table 3)."""

_WHITE, _PEAK = 203.0, 1000.0
"""Luminance in cd/m2 of white in an SDR picture (ITU-R BT.2408, 2.1), and of the brightest light in the picture."""

_ROWS = 64
"""Rows that are converted at one time, because intermediate numbers take 40 times the memory of the pixels."""


@dataclass(frozen=True)
class HdrColors:
    """The colors of an HDR picture.

    Args:
        transfer: `PQ` or `HLG`.
        primaries: The white point and primaries.
    """

    transfer: int
    primaries: Primaries


def to_srgb(image: Image.Image, colors: HdrColors) -> Image.Image:
    """Return an RGB picture of these colors in sRGB."""
    pixels = np.asarray(image)
    result = np.empty_like(pixels)
    to_wide = between(colors.primaries, BT2020_PRIMARIES).T.astype(np.float32)
    to_narrow = between(BT2020_PRIMARIES, SRGB_PRIMARIES).T.astype(np.float32)
    luminance = to_wide @ _BT2020_LUMINANCE
    levels = np.arange(256) / 255
    table = (_pq(levels) / _WHITE if colors.transfer == PQ else _hlg(levels)).astype(np.float32)
    for start in range(0, len(pixels), _ROWS):
        light = table[pixels[start : start + _ROWS]]
        if colors.transfer == HLG:
            # The opto-optical transfer function for a display of 1000 cd/m2 (ITU-R BT.2100, table 5).
            light *= np.maximum(light @ luminance, 0)[..., np.newaxis] ** np.float32(0.2) * np.float32(_PEAK / _WHITE)
        light = _mapped(light @ to_wide) @ to_narrow
        steps = np.clip(light, 0, 1) * np.float32(len(_SIGNALS) - 1) + np.float32(0.5)
        result[start : start + _ROWS] = _SIGNALS[steps.astype(np.uint16)]
    return Image.fromarray(result)


_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
"""Weights of R, G and B in luminance (ITU-R BT.2100, table 4)."""


def _pq(levels: np.ndarray) -> np.ndarray:
    """Return the light in cd/m2 of PQ signals in 0..1 (ITU-R BT.2100, table 4)."""
    power = levels ** (32 / 2523)
    return 10_000 * (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)


def _hlg(levels: np.ndarray) -> np.ndarray:
    """Return the scene light, 0..1, of HLG signals in 0..1 (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(levels <= 0.5, levels**2 / 3, (np.exp((levels - c) / a) + b) / 12)


def _mapped(light: np.ndarray) -> np.ndarray:
    """Return light in 0..1, tone-mapped from light where 1 is SDR white. The hue stays.

    The largest channel decides the factor: a half up to white, then a quadratic Bezier curve to the peak. This is the
    reference white tone mapping of SMPTE ST 2094-50, checked against Chromium 156.
    """
    largest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
    factor = np.full(largest.shape, 0.5, np.float32)
    bright = largest > 1
    factor[bright] = np.interp(largest[bright], _CURVE_X, _CURVE_Y) / largest[bright]
    return np.asarray(light * factor[..., np.newaxis])


_T = np.linspace(0, 1, 1025)
_CURVE_X = (1 - _T) ** 2 + 2 * _T * (1 - _T) * 1.65 + _T**2 * (_PEAK / _WHITE)
_CURVE_Y = (1 - _T) ** 2 * 0.5 + 2 * _T * (1 - _T) * 0.825 + _T**2


_LIGHT = np.linspace(0, 1, 2**14)
_SIGNALS = np.rint(
    255 * np.where(_LIGHT <= 0.0031308, 12.92 * _LIGHT, 1.055 * _LIGHT ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
).astype(np.uint8)
"""Levels of sRGB for linear light in equal steps from 0 to 1."""
