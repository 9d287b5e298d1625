"""J(G) and its gradient."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from optimizer_baseline import CustomCost, InvalidImage, InvalidOption, images
from optimizer_baseline.objective.objective import Objective, Style
from optimizer_baseline.objective.presets import PRESETS, preset
from optimizer_baseline.vgg import weights


def random_pictures(count, side=32, seed=0):
    return np.random.default_rng(seed).random((count, 1, side, side, 3), np.float32)


@pytest.fixture(scope="module")
def random16():
    return weights.load("vgg16", "random:2")


@pytest.fixture(scope="module", params=PRESETS)
def name(request):
    """The name of a preset. The tests of one preset follow each other, so that its program is compiled once."""
    return request.param


def test_gradient_against_finite_differences(name, random16):
    c, s, g = random_pictures(3)
    objective = Objective(c, [Style(s)], preset(name).replace(network="vgg16"), random16)
    _, gradient = objective.value_and_gradient(g)
    generator = np.random.default_rng(1)
    for _ in range(3):
        # Along a direction that the gradient sees: in float32 a difference of nearly equal costs says nothing.
        direction = np.sign(gradient) * generator.random(g.shape)
        step = 5e-4
        ahead, behind = (objective.costs((g + k * step * direction).astype(np.float32)).total_cost for k in (1, -1))
        slope = float((gradient * direction).sum())
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=0.02)


def test_content_costs_nothing_for_itself_and_style_for_itself(name, random16):
    c, s = random_pictures(2)
    objective = Objective(c, [Style(s)], preset(name).replace(network="vgg16"), random16)
    of_content, of_style = objective.costs(c), objective.costs(s)
    assert of_content.content_cost < 1e-6 * of_style.content_cost
    # Quantiles tell a histogram only nearly.
    assert of_style.style_cost < (1e-3 if name == "histogram" else 1e-6) * of_content.style_cost
    assert of_content.style_cost > 0 < of_style.content_cost


def test_weighted_and_unweighted_add_up(random16):
    c, s, g = random_pictures(3)
    definition = preset("magenta")
    costs = Objective(c, [Style(s)], definition, random16).costs(g)
    by_layer = sum(definition.style_layers[k] * v for k, v in costs.style_cost_by_layer.items())
    assert costs.style_cost == pytest.approx(by_layer)
    assert costs.weighted_style_cost == pytest.approx(definition.style_weight * costs.style_cost)
    assert costs.weighted_total_variation == pytest.approx(1e4 * costs.total_variation)
    parts = costs.weighted_content_cost + costs.weighted_style_cost + costs.weighted_total_variation
    assert costs.total_cost == pytest.approx(parts)


def test_value_and_gradient_and_costs_agree(random16):
    c, s, g = random_pictures(3)
    objective = Objective(c, [Style(s)], preset("coursera").replace(network="vgg16"), random16)
    assert objective.value_and_gradient(g)[0].total_cost == pytest.approx(objective.costs(g).total_cost, rel=1e-5)


def test_a_term_of_no_weight_is_told_and_pulls_nowhere(random16):
    c, s, g = random_pictures(3)
    without = preset("magenta").replace(variation_weight=0.0)
    costs, gradient = Objective(c, [Style(s)], without, random16).value_and_gradient(g)
    assert costs.total_variation > 0 and costs.weighted_total_variation == 0
    assert costs.total_cost == pytest.approx(costs.weighted_content_cost + costs.weighted_style_cost)
    assert np.abs(gradient).max() > 0
    nothing = without.replace(content_weight=0.0, style_weight=0.0)
    costs, gradient = Objective(c, [Style(s)], nothing, random16).value_and_gradient(g)
    assert costs.content_cost > 0 and costs.total_cost == 0
    assert gradient.shape == g.shape and not gradient.any()


def test_replicated_borders_are_like_the_middle(random16):
    """The same flat color in another size is the same style, but for what zero padding draws along the border."""
    small, large = (np.full((1, side, side, 3), 0.3, np.float32) for side in (16, 48))
    cost = preset("magenta").replace(content_layers={}, style_layers={"relu1_1": 1.0})
    found = [
        Objective(small, [Style(large)], cost.replace(padding=padding), random16).costs(small).style_cost
        for padding in ("replicate", "zero")
    ]
    assert found[0] < 1e-6 * found[1]


def test_two_styles_share_by_weight(random16):
    c, s1, s2, g = random_pictures(4)
    definition = preset("magenta")

    def style_cost(*styles):
        return Objective(c, list(styles), definition, random16).costs(g).style_cost

    alone = style_cost(Style(s1)), style_cost(Style(s2))
    assert style_cost(Style(s1, 3.0), Style(s2, 1.0)) == pytest.approx(0.75 * alone[0] + 0.25 * alone[1], rel=1e-4)


def test_a_white_mask_is_no_mask_and_a_mask_looks_only_where_it_is_white(random16):
    c, s, g = random_pictures(3)
    definition = preset("magenta").replace(style_layers={"relu1_1": 1.0, "relu2_1": 1.0}, variation_weight=0.0)
    white = np.ones((1, 32, 32, 1), np.float32)
    left = white.copy()
    left[:, :, 16:] = 0.0

    def style_cost(mask, picture):
        return Objective(c, [Style(s, 1.0, mask)], definition, random16).costs(picture).style_cost

    assert style_cost(white, g) == pytest.approx(style_cost(None, g), rel=1e-4)
    changed_right, changed_left = g.copy(), g.copy()
    changed_right[:, :, 24:] = 0.0
    changed_left[:, :, :8] = 0.0
    assert style_cost(left, changed_right) == pytest.approx(style_cost(left, g), rel=1e-4)
    assert style_cost(left, changed_left) != pytest.approx(style_cost(left, g), rel=1e-2)


def test_a_callers_own_cost_counts_and_has_a_gradient(random16):
    c, s, g = random_pictures(3)
    definition = preset("magenta").replace(content_weight=0.0, style_weight=0.0, variation_weight=0.0)
    own = CustomCost(["relu2_2"], lambda features: tf.reduce_mean(features["relu2_2"]), weight=2.0)
    objective = Objective(c, [Style(s)], definition, random16, custom=own)
    costs, gradient = objective.value_and_gradient(g)
    assert costs.total_cost == pytest.approx(2.0 * costs.custom_cost) != 0.0
    assert np.abs(gradient).max() > 0


def test_bfloat16_costs_are_near_float32(vgg16, content, style):
    c, s = (images.to_pixels(p.resize((96, 96))) for p in (content, style))
    definition = preset("gatys2016").replace(network="vgg16")
    exact, rounded = (Objective(c, [Style(s)], definition, vgg16, bfloat16=b) for b in (False, True))
    g = (c + s) / 2
    (a, grad_a), (b, grad_b) = exact.value_and_gradient(g), rounded.value_and_gradient(g)
    assert b.total_cost == pytest.approx(a.total_cost, rel=0.02)
    assert b.total_cost != a.total_cost
    cosine = (grad_a * grad_b).sum() / np.linalg.norm(grad_a) / np.linalg.norm(grad_b)
    assert cosine > 0.99


def test_targets_are_rounded_where_steps_are(vgg16, content, style):
    """In bfloat16, too, a picture has exactly its own content, and its costs are near those in float32."""
    c, s = (images.to_pixels(p.resize((96, 96))) for p in (content, style))
    definition = preset("gatys2016").replace(network="vgg16")
    exact, rounded = (Objective(c, [Style(s)], definition, vgg16, bfloat16=b) for b in (False, True))
    assert rounded.value_and_gradient(c)[0].content_cost == 0.0
    g = (2 * c + s) / 3
    assert rounded.value_and_gradient(g)[0].total_cost == pytest.approx(exact.costs(g).total_cost, rel=1e-2)


MEMORY = """
import sys

sys.modules["keras"] = None  # Nothing here needs it, and it takes as long to import as TensorFlow.
import numpy as np
import tensorflow as tf
from optimizer_baseline.comparison.machine import peak_megabytes
from optimizer_baseline.objective.objective import Objective, Style
from optimizer_baseline.objective.presets import preset
from optimizer_baseline.vgg import weights

loaded = weights.load("vgg19", "random")
tf.constant(0.0)
before = peak_megabytes()
picture = np.full((1, 64, 64, 3), 0.5, np.float32)
Objective(picture, [Style(picture)], preset("gatys2016"), loaded).value_and_gradient(picture)
print(peak_megabytes() - before)
"""


def test_kernels_are_held_once_each_way():
    """Both layouts of VGG-19's kernels take 104 MB; as constants of a graph they took 1.4 GB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=250)
    assert float(done.stdout) < 500


def test_what_does_not_fit_is_named(random16):
    c, s = random_pictures(2)
    definition = preset("magenta")
    with pytest.raises(InvalidOption, match="at least one"):
        Objective(c, [], definition, random16)
    with pytest.raises(InvalidOption, match="weights are of vgg16; preset gatys2016 wants vgg19"):
        Objective(c, [Style(s)], preset("gatys2016"), random16)
    with pytest.raises(InvalidOption, match=r"mask is \(8, 8\), content \(32, 32\)"):
        Objective(c, [Style(s, 1.0, np.ones((1, 8, 8, 1), np.float32))], definition, random16)
    with pytest.raises(InvalidOption, match="style weight is 0"):
        Style(s, 0)
    with pytest.raises(InvalidImage, match="6x6 px; layer relu4_3 needs at least 8 px"):
        Objective(c[:, :6, :6], [Style(s)], definition, random16)
