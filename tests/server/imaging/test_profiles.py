"""Color profiles: the cheap part of one gives the colors that LittleCMS gives on the whole of it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from stylewire_server.imaging import color
from stylewire_server.imaging.profiles import CODED_PRIMARIES, SRGB_CURVE, UnusableProfile, declared, simplify

TOLERANCE = 2
"""Levels of 255."""


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(
    space: bytes, connection: bytes, tags: dict[bytes, bytes], version: int = 4, kind: bytes = b"mntr"
) -> bytes:
    """A profile of these tags (ICC.1:2022, 7), among some that have no part in a conversion."""
    text = b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", 8, 28) + "name".encode("utf-16-be")
    extra = {b"desc": text, b"cprt": text, b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249), b"vcgt": bytes(3000)}
    table, body = struct.pack(">I", len(extra) + len(tags)), b""
    start = 132 + 12 * (len(extra) + len(tags))
    for name, tag in (extra | tags).items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(
        ">I4s4s4s4s4s", start + len(body), b"lcms", bytes([version, 0x40, 0, 0]), kind, space, connection
    )
    return (head + bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0") + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + fixed(*values)


def power(gamma: float) -> bytes:
    return b"para" + bytes(8) + fixed(gamma)


SRGB_PIECES = b"para" + bytes(4) + struct.pack(">H2x", 3) + fixed(*SRGB_CURVE)
"""The curve of sRGB in two pieces."""


def sampled(gamma: float, count: int) -> bytes:
    levels = np.rint(np.linspace(0, 1, count) ** gamma * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", count) + levels.tobytes()


def matrix(curve: bytes, *columns: tuple[float, float, float]) -> dict[bytes, bytes]:
    names = (b"rXYZ", b"gXYZ", b"bXYZ")
    return dict(zip(names, (xyz(*column) for column in columns), strict=True)) | dict.fromkeys(
        (b"rTRC", b"gTRC", b"bTRC"), curve
    )


P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))


def lab_of_inks(grid: int) -> np.ndarray:
    """Lab [grid,grid,grid,grid,3] of C, M, Y and K by a simple model of ink, in the 16 bits of ICC version 2."""
    c, m, y, k = np.meshgrid(*[np.linspace(0, 1, grid)] * 4, indexing="ij")
    light = np.stack([1 - 0.9 * c, 1 - 0.85 * m, 1 - 0.9 * y], -1) * (1 - 0.92 * k[..., np.newaxis])
    lightness = 100 * light.mean(-1) ** 0.8
    a, b = 90 * (light[..., 0] - light[..., 1]), 90 * (light[..., 1] - light[..., 2])
    return np.rint(np.stack([lightness * 652.8, (a + 128) * 256, (b + 128) * 256], -1)).clip(0, 65535)


def lut16(inputs: int, points: np.ndarray) -> bytes:
    """A lookup table of type lut16Type with straight curves."""
    head = b"mft2" + bytes(4) + bytes([inputs, 3, len(points), 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    straight = struct.pack(">HH", 0, 65535)
    return head + struct.pack(">HH", 2, 2) + straight * inputs + points.astype(">u2").tobytes() + straight * 3


def lut8(points: np.ndarray) -> bytes:
    head = b"mft1" + bytes(4) + bytes([3, 3, len(points), 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return head + bytes(range(256)) * 3 + (points / 257).astype(np.uint8).tobytes() + bytes(range(256)) * 3


def a_to_b(points: np.ndarray) -> bytes:
    """A table of type lutAToBType: curves, points of 16 bits, curves (ICC.1:2022, 10.12)."""
    curves = power(1.0) * 3
    place = 32 + len(curves)
    clut = bytes([len(points)] * 3).ljust(16, b"\0") + b"\2\0\0\0" + points.astype(">u2").tobytes()
    clut += bytes(-len(clut) % 4)
    head = b"mAB " + bytes(4) + bytes([3, 3, 0, 0]) + struct.pack(">5I", 32, 0, 0, place, place + len(clut))
    return head + curves + clut + curves


def rgb_points(grid: int) -> np.ndarray:
    """PCS Lab of R, G and B by the same model, with no black ink."""
    return lab_of_inks(grid)[::-1, ::-1, ::-1, 0]


CASES: dict[str, tuple[str, bytes]] = {
    "Display P3": ("RGB", profile(b"RGB ", b"XYZ ", matrix(SRGB_PIECES, *P3))),
    "Adobe RGB": ("RGB", profile(b"RGB ", b"XYZ ", matrix(power(2.19921875), *ADOBE), 2)),
    "ProPhoto": ("RGB", profile(b"RGB ", b"XYZ ", matrix(sampled(1.8, 1024), *PROPHOTO), 2)),
    "linear": ("RGB", profile(b"RGB ", b"XYZ ", matrix(power(1.0), *P3))),
    "gray of gamma 1.8": ("L", profile(b"GRAY", b"XYZ ", {b"kTRC": power(1.8)})),
    "gray of a table": ("L", profile(b"GRAY", b"XYZ ", {b"kTRC": sampled(2.4, 4096)}, 2)),
    "CMYK press": ("CMYK", profile(b"CMYK", b"Lab ", {b"A2B0": lut16(4, lab_of_inks(9))}, 2, b"prtr")),
    "RGB table of 16 bits": ("RGB", profile(b"RGB ", b"Lab ", {b"A2B0": lut16(3, rgb_points(17))}, 2, b"prtr")),
    "RGB table of 8 bits": ("RGB", profile(b"RGB ", b"Lab ", {b"A2B0": lut8(rgb_points(17))}, 2, b"scnr")),
    "RGB table of version 4": ("RGB", profile(b"RGB ", b"Lab ", {b"A2B0": a_to_b(rgb_points(17))}, 4, b"scnr")),
    "table before matrix": (
        "RGB",
        profile(b"RGB ", b"Lab ", {b"A2B0": lut16(3, rgb_points(9))} | matrix(power(1.0), *P3), 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_colors_are_those_of_littlecms_on_the_whole_profile(name: str) -> None:
    mode, whole = CASES[name]
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, channels), dtype=np.uint8)
    image = Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)
    expected = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(whole)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    kept = simplify(whole)
    assert len(kept.data) < len(whole)
    shown = np.asarray(color.to_srgb(image, kept)).astype(int)
    assert np.abs(shown - np.asarray(expected)).max() <= TOLERANCE
    plain = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - plain).max() > 5 * TOLERANCE, "the profile does nothing: it cannot fail"


def test_profiles_that_are_srgb_leave_the_pixels_as_they_are() -> None:
    for whole in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        declared(CODED_PRIMARIES[1], SRGB_CURVE).data,
    ):
        image = Image.effect_noise((32, 32), 90).convert("RGB")
        assert color.to_srgb(image, simplify(whole)) is image


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        (b"", "no ICC header"),
        (bytes(4 * 2**20 + 1), "4,194,305 bytes; the limit is 4,194,304 bytes"),
        (profile(b"RGB ", b"XYZ ", {b"A2B0": lut16(3, rgb_points(3))}, kind=b"link"), "class"),
        (profile(b"RGB ", b"XYZ ", {}, kind=b"nmcl"), "class"),
        (profile(b"Luv ", b"XYZ ", {}), "color space"),
        (profile(b"RGB ", b"XYZ ", {}), "neither a matrix"),
        (profile(b"RGB ", b"XYZ ", {b"D2B0": b"mpet" + bytes(8)}), "neither a matrix"),
        (profile(b"CMYK", b"Lab ", {b"A2B0": lut16(3, rgb_points(3))}), "neither a matrix"),
        (profile(b"RGB ", b"Lab ", {b"A2B0": lut16(3, rgb_points(3))[:-1]}), "neither a matrix"),
        (profile(b"RGB ", b"Lab ", {b"A2B0": a_to_b(rgb_points(3))[:150]}), "neither a matrix"),
        (profile(b"RGB ", b"XYZ ", matrix(sampled(1.8, 40_000), *P3)), "neither a matrix"),
        (profile(b"RGB ", b"XYZ ", {bytes([65 + n // 26, 65 + n % 26]) * 2: bytes(4) for n in range(200)}), "204 tags"),
    ],
)
def test_other_profiles_are_refused_by_their_kind_or_size(whole: bytes, words: str) -> None:
    with pytest.raises(UnusableProfile, match=words):
        simplify(whole)


def test_random_bytes_never_reach_littlecms() -> None:
    """Damaged profiles are refused here, or LittleCMS gets a whole one: it never raises anything but its own error."""
    whole = CASES["RGB table of version 4"][1]
    random, image = np.random.default_rng(2), Image.new("RGB", (8, 8))
    for place, value in zip(random.integers(0, 600, 300), random.integers(0, 256, 300), strict=True):
        broken = bytearray(whole)
        broken[place] = value
        try:
            kept = simplify(bytes(broken))
        except UnusableProfile:
            continue
        assert color.to_srgb(image, kept).mode == "RGB"
