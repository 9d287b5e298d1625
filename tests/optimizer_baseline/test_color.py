"""Color transfer against the statistics that it promises."""

import numpy as np
import pytest

from optimizer_baseline import InvalidOption, stylize
from optimizer_baseline.color import match_histogram, match_mean_covariance


def cloud(seed, height, width, low, high):
    return np.random.default_rng(seed).uniform(low, high, (1, height, width, 3)).astype(np.float32)


def test_mean_and_covariance_are_those_of_the_reference():
    picture, reference = cloud(0, 40, 30, 0.3, 0.6), cloud(1, 20, 50, [0.2, 0.4, 0.3], [0.5, 0.5, 0.7])
    found = match_mean_covariance(picture, reference)
    for statistic in (lambda p: p.reshape(-1, 3).mean(0), lambda p: np.cov(p.reshape(-1, 3).T)):
        np.testing.assert_allclose(statistic(found), statistic(reference), atol=2e-3)
    assert found.shape == picture.shape and found.dtype == np.float32


def test_a_flat_picture_takes_the_mean_color():
    flat = np.full((1, 8, 8, 3), 0.5, np.float32)
    reference = cloud(2, 16, 16, 0.1, 0.4)
    np.testing.assert_allclose(match_mean_covariance(flat, reference)[0, 0, 0], reference.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(match_histogram(flat, reference)[0, 0, 0], np.median(reference, (0, 1, 2)), atol=0.01)


def test_the_histogram_is_that_of_the_reference_and_keeps_order():
    picture, reference = cloud(3, 50, 40, 0.0, 1.0) ** 2, cloud(4, 60, 60, 0.2, 0.9)
    found = match_histogram(picture, reference)
    for channel in range(3):
        before, after = picture[..., channel].ravel(), found[..., channel].ravel()
        np.testing.assert_allclose(
            np.sort(after)[::400], np.quantile(reference[..., channel], [0, 0.2, 0.4, 0.6, 0.8]), atol=0.02
        )
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order]) >= 0).all()
    np.testing.assert_allclose(match_histogram(reference, reference), reference, atol=1e-6)


@pytest.mark.parametrize("transfer", ["mean-covariance", "histogram"])
def test_a_run_takes_on_the_contents_colors(transfer, style):
    content = np.full((40, 48, 3), (60, 110, 70), np.uint8)
    content[:, 24:] = (40, 140, 110)
    options = {"preset": "magenta", "weights": "random:1", "precision": "f32", "size": 48, "iterations": 20}
    hues = [stylize(content, style, color_transfer=how, **options).pixels.mean((0, 1, 2)) for how in (None, transfer)]
    wanted = content.mean((0, 1)) / 255
    assert np.abs(hues[1] - wanted).max() < 0.8 * np.abs(hues[0] - wanted).max()


def test_one_way_of_keeping_colors(content, style):
    with pytest.raises(InvalidOption, match="choose one"):
        stylize(content, style, color_transfer="histogram", preserve_color=True)
    with pytest.raises(InvalidOption, match="unknown color transfer 'lab'; known: mean-covariance, histogram"):
        stylize(content, style, color_transfer="lab")
