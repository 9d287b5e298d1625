"""SSIM, PSNR and the perceptual distance against numbers worked out by hand."""

import math

import numpy as np
import pytest

from optimizer_baseline.comparison.similarity import PerceptualDistance, psnr, ssim
from optimizer_baseline.errors import InvalidImage


def noisy(pixels, amount, seed=0):
    generator = np.random.default_rng(seed)
    return np.clip(pixels + generator.normal(0, amount, pixels.shape), 0, 1).astype(np.float32)


@pytest.fixture
def picture():
    return np.random.default_rng(1).random((1, 24, 20, 3), np.float32)


def test_ssim_of_equal_pictures_is_one(picture):
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-12)


def test_ssim_of_flat_pictures_is_its_luminance_term():
    a, b = (np.full((1, 16, 16, 3), v, np.float32) for v in (0.2, 0.6))
    assert ssim(a, b) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), abs=1e-6)


def test_ssim_of_one_window_is_equation_13(picture):
    """On 11x11 px exactly one window fits: the whole of the definition, written out again."""
    a, b = picture[:, :11, :11], noisy(picture[:, :11, :11], 0.2)
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = (p[0] @ np.array([0.299, 0.587, 0.114]) for p in (a, b))
    mean_x, mean_y = (window * x).sum(), (window * y).sum()
    var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
    cov = (window * (x - mean_x) * (y - mean_y)).sum()
    expected = ((2 * mean_x * mean_y + 1e-4) * (2 * cov + 9e-4)) / (
        (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)


def test_psnr():
    a = np.zeros((1, 4, 4, 3), np.float32)
    assert psnr(a, a + np.float32(0.1)) == pytest.approx(20.0, abs=1e-5)
    assert math.isinf(psnr(a, a))


@pytest.mark.parametrize("measure", [ssim, psnr])
def test_sizes_have_to_agree(measure, picture):
    with pytest.raises(InvalidImage, match="20x24 and 20x12 px"):
        measure(picture, picture[:, :12])


def test_perceptual_distance_grows_with_the_damage(vgg16, real_pair):
    pixels = np.asarray(real_pair[0], np.float32)[None] / 255
    distance = PerceptualDistance(vgg16)
    assert distance(pixels, pixels) == 0.0
    little, much = distance(pixels, noisy(pixels, 0.02)), distance(pixels, noisy(pixels, 0.2))
    assert 0 < little < much
    # Unit vectors of rectified responses are at most a right angle apart: 2 at each of five layers.
    assert much < 10
