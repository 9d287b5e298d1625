"""Damaged files: random bit flips, and the problem files beside the checkout."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging.codec import load
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits

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
    """The picture that Pillow makes of a file; None where it refuses."""
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


REFUSED = ("10_", "12_", "14_", "15_")
"""Names of problem files whose pixels are damaged."""

CORNERS = {
    # Converted by hand: gamma 1.8, Display P3, and grey of linear light. Chromium shows the same within 1 level.
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
