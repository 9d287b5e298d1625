"""ICC profiles: the cheap part of a caller's profile, and profiles for colors that a file declares in another way.

A profile is a small program. A list of multi-process elements (`mpet`) can make a color engine work for minutes on a
file of a few hundred bytes. So LittleCMS never gets a caller's profile. It gets a new one with the few tags that the
conversion to sRGB needs, each checked here: matrix and curves, or one lookup table that is no larger than its bytes.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

MAX_PROFILE_BYTES = 4 * 2**20
"""Maximum bytes of a profile. Profiles of printing presses with large tables have 0.5 to 3 MB."""

_MAX_TAGS = 100
"""Maximum entries of a profile's tag table. LittleCMS has the same limit."""

_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}

_CLASSES = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
"""Input, display, output and color space profiles. Device links, named colors and abstract profiles are ignored."""

_HEADER_BYTES = 128
_MAX_CURVE_BYTES = 64 * 2**10 + 12
"""Maximum bytes of a curve: LittleCMS reads at most 32,767 entries of 2 bytes."""


class UnusableProfile(Exception):
    """The profile is damaged, costs too much to apply, or is of a kind that is ignored."""


@dataclass(frozen=True)
class Profile:
    """A profile that is cheap to apply.

    Args:
        data: The profile in ICC format.
        mode: The Pillow mode of the pixels that it describes: L, RGB or CMYK.
    """

    data: bytes
    mode: str

    @property
    def invertible(self) -> bool:
        """True for a matrix with curves of RGB, which can also convert from sRGB."""
        return self.mode == "RGB" and b"A2B0" not in self.data[_HEADER_BYTES + 4 : _HEADER_BYTES + 16]


def simplify(profile: bytes) -> Profile:
    """Return a new profile with only the checked tags that a perceptual conversion to sRGB uses (ICC.1:2022, 7 to 10).

    Raises:
        UnusableProfile: The profile cannot be used; the message says why.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        raise UnusableProfile(f"it has {len(profile):,} bytes; the limit is {MAX_PROFILE_BYTES:,} bytes")
    if len(profile) < _HEADER_BYTES + 4 or profile[36:40] != b"acsp":
        raise UnusableProfile("it has no ICC header")
    kind, space, connection = profile[12:16], profile[16:20], profile[20:24]
    if kind not in _CLASSES or space not in _CHANNELS or connection not in {b"XYZ ", b"Lab "}:
        raise UnusableProfile(f"its class, color space and connection space are {kind!r}, {space!r}, {connection!r}")
    tags = _tags(profile)
    kept = _table(tags, _CHANNELS[space]) or _curves(tags, space, connection)
    if kept is None:
        raise UnusableProfile("it has neither a matrix with curves nor a plain lookup table")
    return Profile(_written(profile[:_HEADER_BYTES], kept), {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}[space])


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Return the data of the usable tags; if a name comes twice, the first one counts."""
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    if count > _MAX_TAGS:
        raise UnusableProfile(f"it has {count:,} tags; the limit is {_MAX_TAGS} tags")
    tags: dict[bytes, bytes] = {}
    for place in range(_HEADER_BYTES + 4, min(_HEADER_BYTES + 4 + 12 * count, len(profile) - 11), 12):
        name, start, length = struct.unpack_from(">4sII", profile, place)
        if name in _WANTED and name not in tags and start + length <= len(profile):
            tags[name] = profile[start : start + length]
    return tags


_COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")
_COLOR_CURVES = (b"rTRC", b"gTRC", b"bTRC")
_WANTED = frozenset({b"A2B0", b"kTRC", *_COLORANTS, *_COLOR_CURVES})


def _curves(tags: dict[bytes, bytes], space: bytes, connection: bytes) -> dict[bytes, bytes] | None:
    """Return the curves, with the matrix for RGB; None if one is missing or costs too much."""
    if space == b"GRAY":
        names: tuple[bytes, ...] = (b"kTRC",)
    elif space == b"RGB " and connection == b"XYZ ":
        names = _COLORANTS + _COLOR_CURVES
    else:
        return None
    for name in names:
        tag = tags.get(name, b"")
        types = {b"XYZ "} if name in _COLORANTS else {b"curv", b"para"}
        if tag[:4] not in types or len(tag) > _MAX_CURVE_BYTES:
            return None
    return {name: tags[name] for name in names}


def _table(tags: dict[bytes, bytes], channels: int) -> dict[bytes, bytes] | None:
    """Return the lookup table from device to connection space; None if it is missing or claims more than its bytes."""
    tag = tags.get(b"A2B0", b"")
    try:
        needed = _table_bytes(tag, channels)
    except (struct.error, IndexError):
        return None
    return {b"A2B0": tag} if needed is not None and needed <= len(tag) else None


def _table_bytes(tag: bytes, channels: int) -> int | None:
    """Return the bytes that a lookup table needs by its own header; None for another kind of tag."""
    kind, inputs, outputs, grid = struct.unpack_from(">4s4xBBB", tag)
    if inputs != channels or outputs != 3:
        return None
    if kind == b"mft1":
        return int(48 + 256 * inputs + grid**inputs * outputs + 256 * outputs)
    if kind == b"mft2":
        before, after = struct.unpack_from(">HH", tag, 48)
        return int(52 + 2 * (before * inputs + grid**inputs * outputs + after * outputs))
    if kind == b"mAB ":
        (place,) = struct.unpack_from(">I", tag, 24)
        if not place:
            return 32
        points, width = tag[place : place + inputs], tag[place + 16]
        return int(place + 20 + math.prod(points) * outputs * width) if width in {1, 2} else None
    return None


def _written(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return a profile with that header and these tags (ICC.1:2022, 7.2 and 7.3)."""
    table, body = struct.pack(">I", len(tags)), b""
    start = _HEADER_BYTES + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for name, tag in tags.items():
        if tag not in places:
            places[tag] = start + len(body)
            body += tag + bytes(-len(tag) % 4)
        table += name + struct.pack(">II", places[tag], len(tag))
    # Bytes 84 to 99, the profile's identifier, are a checksum of the old profile.
    head = struct.pack(">I", start + len(body)) + header[4:84] + bytes(44)
    return head + table + body


@dataclass(frozen=True)
class Primaries:
    """Chromaticities (x, y) of the white point and of the three primaries (CIE 1931)."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


_D65 = (0.3127, 0.3290)
_ILLUMINANT_C = (0.310, 0.316)
_DCI_WHITE = (0.314, 0.351)

SRGB_PRIMARIES = Primaries(_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))

BT2020_PRIMARIES = Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))

CODED_PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: Primaries(_ILLUMINANT_C, (0.670, 0.330), (0.210, 0.710), (0.140, 0.080)),
    5: Primaries(_D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
    6: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: Primaries(_ILLUMINANT_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: BT2020_PRIMARIES,
    11: Primaries(_DCI_WHITE, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
"""Color primaries by their code (ITU-T H.273, table 2)."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""The curve of sRGB (IEC 61966-2-1)."""

_DISPLAY_GAMMA = (2.4,)
"""Gamma of the reference display for video of ITU-R BT.709 and similar standards (ITU-R BT.1886)."""

CODED_CURVES: dict[int, tuple[float, ...]] = {
    1: _DISPLAY_GAMMA,
    4: (2.2,),
    5: (2.8,),
    6: _DISPLAY_GAMMA,
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 4 * 0.0228),
    8: (1.0,),
    11: _DISPLAY_GAMMA,
    13: SRGB_CURVE,
    14: _DISPLAY_GAMMA,
    15: _DISPLAY_GAMMA,
    17: (2.6, (52.37 / 48) ** (1 / 2.6), 0.0, 0.0, 0.0),
}
"""Transfer characteristics by their code (ITU-T H.273, table 3) as parameters of an ICC parametric curve.

PQ (16) and HLG (18) are in `hdr`.
"""

_D50 = np.array([0.9642, 1.0, 0.8249])
"""The white of the profile connection space (ICC.1:2022, 7.2.16)."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""Cone responses for chromatic adaptation (Lam 1985; ICC.1:2022, annex E)."""


_MAX_NUMBER = 100
"""Maximum number in a matrix. Larger numbers describe no real device."""

_MAX_EXPONENT = 32_767
"""Maximum exponent of a curve: the largest number that a profile can hold."""


def declared(primaries: Primaries, curve: tuple[float, ...]) -> Profile:
    """Return the profile of RGB pixels with these primaries and that parametric curve (ICC.1:2022, 10.18).

    Args:
        primaries: Chromaticities of white and primaries.
        curve: An exponent, or exponent, a, b, c and d of the curve with a straight part near black.

    Raises:
        UnusableProfile: The primaries span no gamut.
    """
    matrix = _matrix(primaries)
    if not 1 / _MAX_EXPONENT < curve[0] < _MAX_EXPONENT:
        raise UnusableProfile(f"its gamma is {curve[0]:g}")
    parametric = b"para" + bytes(4) + struct.pack(">H2x", {1: 0, 5: 3}[len(curve)]) + _fixed(*curve)
    tags = {name: b"XYZ " + bytes(4) + _fixed(*column) for name, column in zip(_COLORANTS, matrix.T, strict=True)}
    tags |= dict.fromkeys(_COLOR_CURVES, parametric)
    head = bytes(4) + b"none" + b"\4\x30\0\0" + b"mntr" + b"RGB " + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    return Profile(_written((head + _fixed(*_D50)).ljust(_HEADER_BYTES, b"\0"), tags), "RGB")


def between(given: Primaries, wanted: Primaries) -> np.ndarray:
    """Return the matrix [3,3] from linear RGB of some primaries to that of others, adapted to the white point."""
    return np.linalg.solve(_matrix(wanted), _matrix(given))


def _matrix(primaries: Primaries) -> np.ndarray:
    """Return the matrix [3,3] from linear RGB to XYZ, adapted to D50.

    Raises:
        UnusableProfile: The primaries span no gamut.
    """
    colors = np.array([_xyz(each) for each in (primaries.red, primaries.green, primaries.blue)]).T
    white = _xyz(primaries.white)
    try:
        matrix = colors * np.linalg.solve(colors, white)
        cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
        matrix = np.linalg.solve(_BRADFORD, cones @ _BRADFORD @ matrix)
    except np.linalg.LinAlgError:
        raise UnusableProfile("its primaries span no gamut") from None
    if not np.abs(matrix).max() < _MAX_NUMBER:
        raise UnusableProfile("its primaries span no gamut")
    return np.asarray(matrix)


def _xyz(chromaticity: tuple[float, float]) -> np.ndarray:
    x, y = chromaticity
    if not 0 < y <= 2:
        raise UnusableProfile(f"its chromaticity y is {y:g}")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*values: float) -> bytes:
    """Return numbers as signed fixed-point numbers of 16 integer and 16 fractional bits."""
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)
