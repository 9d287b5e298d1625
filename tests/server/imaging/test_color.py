"""Keeping the content's colors, measured in BT.601 YCbCr computed in floating point."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.imaging.color import LUMA, preserve_color

TOLERANCE = 1.0
"""Levels of 255 that rounding R, G and B may move luma or chroma by, where nothing is clipped."""


def luma(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) @ LUMA


def chroma(picture: np.ndarray) -> np.ndarray:
    """Cb and Cr, [...,2], of pixels 0..255."""
    floats = picture.astype(np.float64)
    return np.stack([(floats[..., 2] - luma(picture)) / 1.772, (floats[..., 0] - luma(picture)) / 1.402], -1)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((256, 256), Image.Resampling.LANCZOS))


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture and a content whose sums stay inside the gamut."""
    random = np.random.default_rng(seed)
    content = random.integers(100, 156, (64, 64, 3), np.uint8)
    picture = random.integers(100, 156, (64, 64, 3), np.uint8)
    return picture, content


def test_luma_is_the_pictures_and_chroma_the_contents() -> None:
    picture, content = pair()
    result = preserve_color(picture, content)
    assert np.abs(luma(result) - luma(picture)).max() <= TOLERANCE
    assert np.abs(chroma(result) - chroma(content)).max() <= TOLERANCE
    assert np.abs(chroma(picture) - chroma(content)).max() > 20


def test_of_real_pictures_most_pixels_keep_the_contents_chroma(photo: Path, style_picture: Path) -> None:
    """Less than a quarter of the pixels leave the gamut and are clipped. The rest is within the tolerance."""
    picture, content = pixels_of(style_picture), pixels_of(photo)
    result = preserve_color(picture, content)
    inside = (result > 0).all(-1) & (result < 255).all(-1)
    assert inside.mean() > 0.75
    assert np.abs(chroma(result) - chroma(content))[inside].max() <= TOLERANCE
    assert np.abs(luma(result) - luma(picture))[inside].max() <= TOLERANCE


def test_a_smooth_ramp_has_no_bands() -> None:
    """A luma ramp over constant color keeps every level. A round trip through 8-bit YCbCr would lose some."""
    ramp = np.repeat(np.linspace(60, 190, 131).round().astype(np.uint8)[None, :, None], 3, 2)
    content = np.broadcast_to(np.array([140, 110, 125], np.uint8), ramp.shape)
    result = preserve_color(ramp, content)
    for channel in range(3):
        steps = np.diff(result[0, :, channel].astype(int))
        assert set(steps) == {1}, f"channel {channel} has steps of {sorted(set(steps))}"

    def through_8_bits() -> np.ndarray:
        y = np.asarray(Image.fromarray(ramp).convert("YCbCr"))[..., :1]
        c = np.asarray(Image.fromarray(np.ascontiguousarray(content)).convert("YCbCr"))[..., 1:]
        return np.asarray(Image.fromarray(np.concatenate([y, c], -1), "YCbCr").convert("RGB"))

    error, error_8 = (np.abs(chroma(x) - chroma(content)).mean() for x in (result, through_8_bits()))
    assert error < error_8


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_picture_itself_stays(dtype: type) -> None:
    content = pair()[1]
    content = content if dtype is np.uint8 else content.astype(np.float32) / 255
    result = preserve_color(content, content)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, content, atol=1e-6)


def test_results_stay_in_range() -> None:
    content = np.array([[[255, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(preserve_color(np.full_like(content, 255), content), [[[255, 179, 179]]])
    np.testing.assert_array_equal(preserve_color(np.zeros_like(content), content), [[[179, 0, 0]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colors_kept_in_parts_are_those_of_each_part(dtype: type) -> None:
    """The picture is longer than what is worked on at one time."""
    rng = np.random.default_rng(1)
    picture, content = (rng.random((2, 400, 300, 3)) * (255 if dtype is np.uint8 else 1)).astype(dtype)
    rows = [preserve_color(*pair) for pair in zip(picture, content, strict=True)]
    np.testing.assert_allclose(preserve_color(picture, content), np.stack(rows), atol=1e-6)
