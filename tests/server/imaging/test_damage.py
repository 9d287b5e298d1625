"""Damaged files: random bit flips, and the problem files beside the checkout."""

import contextlib
import io
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging.codec import load
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.imaging.profiles import CODED_PRIMARIES, SRGB_CURVE, declared

LIMITS = ImageLimits(min_side=1)

FORMS = {
    "PNG": {},
    "PNG palette": {},
    "JPEG": {"quality": 90},
    "JPEG progressive": {"quality": 90, "progressive": True},
    "WEBP": {"quality": 90},
    "WEBP lossless": {"lossless": True},
}

FLIPS = 2_000


def decoded(data: bytes) -> np.ndarray:
    return load(data, Fit.NATIVE, LIMITS, "content").pixels


def by_pillow(data: bytes) -> np.ndarray | None:
    """Return the picture that Pillow reads from a file; None if Pillow refuses it."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
            image.load()
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
            return np.asarray(image.convert("RGB"))
    except Exception:
        # Pillow raises many kinds of errors on damaged files.
        return None


def whole_file(form: str) -> bytes:
    y, x = np.mgrid[:40, :56]
    noise = np.random.default_rng(5).integers(0, 40, (40, 56, 3))
    pixels = (np.stack([x * 3, y * 4, x + y], -1) + noise).astype(np.uint8)
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    (image.quantize(32) if "palette" in form else image).save(out, form.split(maxsplit=1)[0], **FORMS[form])
    return out.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_bit_gives_pillows_picture_the_whole_one_or_a_refusal(form: str) -> None:
    """The whole picture: the flip is in something beside the pixels, which Pillow may refuse and a viewer passes."""
    data = whole_file(form)
    whole = decoded(data)
    random = np.random.default_rng(len(form))
    counts: Counter[str] = Counter()
    for place, bit in zip(random.integers(0, len(data), FLIPS), random.integers(0, 8, FLIPS), strict=True):
        broken = bytearray(data)
        broken[place] ^= 1 << bit
        try:
            shown = decoded(bytes(broken))
        except InvalidInput:
            counts["refused"] += 1
            continue
        reference = by_pillow(bytes(broken))
        if (
            reference is not None
            and shown.shape == reference.shape
            and np.abs(shown.astype(int) - reference).max() <= 1
        ):
            counts["as Pillow"] += 1
        elif shown.shape == whole.shape and (shown == whole).all():
            counts["whole"] += 1
        else:
            pytest.fail(f"{form}: bit {bit} of byte {place} gives a picture of neither kind")
    print(f"\n{form}: {dict(counts)}")
    assert counts["refused"] >= (0.8 if form == "PNG" else 0.01) * FLIPS


EXTRA = {
    b"iCCP": b"x\0\0" + zlib.compress(declared(CODED_PRIMARIES[12], SRGB_CURVE).data),
    b"gAMA": struct.pack(">I", 55_556),
    b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    b"cICP": b"\x0c\x0d\0\1",
    b"sRGB": b"\0",
    b"tRNS": bytes(range(6)),
    b"eXIf": b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
    b"zTXt": b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  10\n4d4d002a00000008"),
    b"tEXt": b"Raw profile type exif\0\nexif\n  10\n4d4d002a00000008",
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_whatever_a_chunk_beside_the_pixels_says_the_picture_is_shown() -> None:
    """Each chunk has a valid checksum, so it is read. It has numbers of all sizes, and is cut at every length."""
    data = whole_file("PNG")
    random = np.random.default_rng(3)
    for kind, body in EXTRA.items():
        bodies = [body[:length] for length in range(len(body))]
        bodies += [bytes(len(body)), b"\xff" * len(body), b"\x7f" * len(body), bytes(len(body) - 1) + b"\1"]
        for _ in range(200):
            changed = bytearray(body)
            for place in random.integers(0, len(body), random.integers(1, 5)):
                changed[place] = random.integers(0, 256)
            bodies.append(bytes(changed))
        for each in bodies:
            alone = data[:33] + chunk(kind, each) + data[33:]
            assert sorted(decoded(alone).shape) == [3, 40, 56], (kind, each)
    for _ in range(300):
        chunks = [chunk(kind, random.bytes(len(EXTRA[kind]))) for kind in random.permutation(list(EXTRA))]
        assert sorted(decoded(data[:33] + b"".join(chunks) + data[33:]).shape) == [3, 40, 56]


@pytest.mark.parametrize("form", ["JPEG", "JPEG progressive", "WEBP"])
def test_random_heads_raise_nothing_else(form: str) -> None:
    """Segments and chunks with random lengths, profiles and EXIF data give a picture or a refusal."""
    random = np.random.default_rng(4)
    out = io.BytesIO()
    image = Image.fromarray(decoded(whole_file(form)))
    extra = {"icc_profile": declared(CODED_PRIMARIES[12], SRGB_CURVE).data, "exif": EXTRA[b"eXIf"]}
    image.save(out, form.split(maxsplit=1)[0], **FORMS[form], **extra)
    data = out.getvalue()
    for _ in range(FLIPS):
        changed = bytearray(data)
        for place in random.integers(0, min(1200, len(data)), random.integers(1, 6)):
            changed[place] = random.integers(0, 256)
        cut = bytes(changed[: random.integers(1, len(data))]) if random.random() < 0.2 else bytes(changed)
        with contextlib.suppress(InvalidInput):
            assert decoded(cut).dtype == np.uint8


REFUSED = ("10_", "12_", "14_", "15_")
"""Names of problem files whose pixels are damaged."""

CORNERS = {
    # Converted by hand: gamma 1.8, Display P3, and gray of linear light. Chromium shows the same within 1 level.
    "30_": [(235, 40, 40), (40, 210, 40), (40, 40, 235), (243, 243, 26)],
    "32_": [(251, 0, 0), (0, 204, 0), (30, 30, 240), (240, 240, 0)],
    "54_": [(96,) * 3, (242,) * 3, (96,) * 3, (251,) * 3],
}
PLAIN = [(230, 30, 30), (30, 200, 30), (30, 30, 230), (240, 240, 20)]
"""Upper left, upper right, lower left, lower right."""


def test_the_problem_files_are_shown_as_their_names_say(shared: Path) -> None:
    folder = shared / "cases" / "pictures"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases/pictures beside this checkout")
    for path in sorted(folder.iterdir()):
        if path.name.startswith(REFUSED):
            with pytest.raises(InvalidInput, match="truncated or damaged"):
                decoded(path.read_bytes())
            continue
        shown = decoded(path.read_bytes()).astype(int)
        assert shown.shape == (64, 96, 3), path.name
        corners = shown[[2, 2, -3, -3], [2, -3, 2, -3]]
        assert np.abs(corners - CORNERS.get(path.name[:3], PLAIN)).max() <= 2, (path.name, corners)
