"""Scores of pictures whose costs are known."""

import numpy as np
import pytest
from PIL import Image

from optimizer_baseline import images, score, stylize
from optimizer_baseline.objective.presets import preset
from optimizer_baseline.vgg import weights

SHALLOW = preset("magenta").replace(content_layers={"relu2_1": 1.0}, style_layers={"relu1_1": 1.0})
OPTIONS = {"preset": SHALLOW, "weights": weights.load("vgg16", "random:1"), "precision": "f32"}
SIZES = [(451, 300), (600, 400), (512, 512), (640, 427), (427, 640), (333, 251), (1000, 667), (401, 267), (97, 61),
         (255, 171), (256, 171), (257, 171), (300, 199), (299, 211), (123, 77), (77, 123), (500, 333), (501, 334),
         (750, 499), (641, 480), (90, 61), (801, 533)]  # fmt: skip


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_has_its_own_content(size):
    """The picture is compared with the same pixels for every aspect ratio, even after rounding to whole pixels."""
    content = noise(*size)
    assert score(content, noise(64, 64), content, size=96, **OPTIONS).costs.content_cost == 0.0


@pytest.mark.parametrize("size", SIZES[:6])
def test_a_smaller_copy_is_not_cropped(size, caplog):
    content = noise(*size)
    copy = images.fit(content, 128)
    assert score(content, noise(64, 64), copy, size=128, **OPTIONS).costs.content_cost == 0.0
    # Enlarged again it may come out a pixel off, which is no other shape.
    score(content, noise(64, 64), copy, size=250, **OPTIONS)
    assert not caplog.records


@pytest.mark.parametrize(("size", "style_size"), [((451, 300), None), ((333, 251), 48)])
def test_the_float_result_of_a_run_has_the_cost_that_the_run_told(size, style_size):
    content, style = noise(*size), noise(80, 60, 1)
    result = stylize(content, style, size=96, style_size=style_size, iterations=3, **OPTIONS)
    found = score(content, style, result.pixels, size=96, style_size=style_size, **OPTIONS)
    assert found.costs.total_cost == pytest.approx(result.costs.total_cost, rel=1e-6)
    rounded = score(content, style, result.picture, size=96, **OPTIONS)
    assert rounded.costs.total_cost != pytest.approx(result.costs.total_cost, rel=1e-6)
