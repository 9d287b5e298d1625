"""HDR pictures (PQ and HLG) as sRGB, as Chromium shows them on a screen without HDR: within 1 level of 255."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .profiles import BT2020_PRIMARIES, SRGB_PRIMARIES, Primaries, between

PQ, HLG = 16, 18
"""Codes of the transfer characteristics (ITU-T H.273, table 3)."""

_WHITE, _PEAK = 203.0, 1000.0
"""cd/m2 of white in an SDR picture (ITU-R BT.2408, 2.1), and of the brightest light that is taken for granted."""

_ROWS = 64
"""Rows that are converted at one time: the numbers on the way take 40 times the room of the pixels."""


@dataclass(frozen=True)
class HdrColors:
    """The colors of an HDR picture.

    Args:
        transfer: `PQ` or `HLG`.
        primaries: Its white point and primaries.
    """

    transfer: int
    primaries: Primaries


def to_srgb(image: Image.Image, colors: HdrColors) -> Image.Image:
    """Return an RGB picture of these colors in sRGB."""
    pixels = np.asarray(image)
    result = np.empty_like(pixels)
    to_wide = between(colors.primaries, BT2020_PRIMARIES)
    to_narrow = between(BT2020_PRIMARIES, SRGB_PRIMARIES)
    luminance = to_wide.T @ _BT2020_LUMINANCE
    levels = np.arange(256) / 255
    table = _pq(levels) / _WHITE if colors.transfer == PQ else _hlg(levels)
    for start in range(0, len(pixels), _ROWS):
        light = table[pixels[start : start + _ROWS]]
        if colors.transfer == HLG:
            # The opto-optical transfer function for a display of 1000 cd/m2 (ITU-R BT.2100, table 5).
            light *= np.maximum(light @ luminance, 0)[..., np.newaxis] ** 0.2 * (_PEAK / _WHITE)
        light = _mapped(light @ to_wide.T) @ to_narrow.T
        result[start : start + _ROWS] = np.rint(_srgb(light) * 255)
    return Image.fromarray(result)


_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
"""Weights of R, G and B in luminance (ITU-R BT.2100, table 4)."""


def _pq(levels: np.ndarray) -> np.ndarray:
    """Light in cd/m2 of PQ signals in 0..1 (ITU-R BT.2100, table 4)."""
    power = levels ** (32 / 2523)
    return 10_000 * (np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610)


def _hlg(levels: np.ndarray) -> np.ndarray:
    """Light of the scene, 0..1, of HLG signals in 0..1 (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(levels <= 0.5, levels**2 / 3, (np.exp((levels - c) / a) + b) / 12)


def _mapped(light: np.ndarray) -> np.ndarray:
    """Light where 1 is SDR white, brought to 0..1 with its hue: by a factor of its largest channel.

    Half of it up to white, then a quadratic Bezier curve to the peak (the reference white tone mapping of SMPTE ST
    2094-50, checked against what Chromium 156 shows).
    """
    largest = light.max(-1, keepdims=True)
    curve = np.where(largest <= 1, largest / 2, np.interp(largest, _CURVE_X, _CURVE_Y))
    return light * np.where(largest <= 1, 0.5, curve / np.maximum(largest, 1))


_T = np.linspace(0, 1, 1025)
_CURVE_X = (1 - _T) ** 2 + 2 * _T * (1 - _T) * 1.65 + _T**2 * (_PEAK / _WHITE)
_CURVE_Y = (1 - _T) ** 2 * 0.5 + 2 * _T * (1 - _T) * 0.825 + _T**2


def _srgb(light: np.ndarray) -> np.ndarray:
    """The signal of linear light (IEC 61966-2-1)."""
    clipped = np.clip(light, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
