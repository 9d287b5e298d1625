"""Each preset as a whole against its publication's own formula, written out in numpy on raw sums."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from optimizer_baseline import InvalidOption
from optimizer_baseline.objective.objective import Objective, Style
from optimizer_baseline.objective.presets import PRESETS, preset
from optimizer_baseline.vgg import weights
from optimizer_baseline.vgg.network import Network

FIRST = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
LAST = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def raw_gram(features):
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
    return rows.T @ rows


def square(a, b):
    return ((a.astype(np.float64) - b) ** 2).sum()


def style_sum(g, s, layers, normalizer):
    total = 0.0
    for layer in layers:
        m, n = g[layer][..., 0].size, g[layer].shape[-1]
        total += square(raw_gram(g[layer]), raw_gram(s[layer])) * normalizer(m, n)
    return total


def differences(pixels):
    return np.diff(pixels.astype(np.float64), axis=1), np.diff(pixels.astype(np.float64), axis=2)


def gatys2016(c, s, g, pixels):
    content = square(g["relu4_2"], c["relu4_2"]) / 2
    return 1e-3 * content + style_sum(g, s, FIRST, lambda m, n: 0.2 / (4 * n**2 * m**2))


def coursera(c, s, g, pixels):
    content = square(g["relu4_2"], c["relu4_2"]) / (4 * c["relu4_2"].size)
    return 10 * content + 40 * style_sum(g, s, FIRST, lambda m, n: 0.2 / (4 * n**2 * m**2))


def johnson2016(c, s, g, pixels):
    content = square(g["relu3_3"], c["relu3_3"]) / c["relu3_3"].size
    dy, dx = differences(255 * pixels)
    variation = ((dy[:, :, :-1] ** 2).sum() + (dx[:, :-1] ** 2).sum()) / 2
    return content + 5 * style_sum(g, s, LAST, lambda m, n: 1 / (m * n) ** 2 / n**2) + 1e-6 * variation


def magenta(c, s, g, pixels):
    content = square(g["relu3_3"], c["relu3_3"]) / c["relu3_3"].size
    dy, dx = differences(pixels)
    variation = (dy**2).sum() / 2 / dy.size + (dx**2).sum() / 2 / dx.size
    return content + style_sum(g, s, LAST, lambda m, n: 0.5e-3 / m**2 / n**2) + 1e4 * variation


def tf_tutorial(c, s, g, pixels):
    content = square(g["relu5_2"], c["relu5_2"]) / c["relu5_2"].size
    dy, dx = differences(pixels)
    variation = np.abs(dy).sum() + np.abs(dx).sum()
    return 1e4 * content + style_sum(g, s, FIRST, lambda m, n: 1e-2 / 5 / m**2 / n**2) + 30 * variation


PUBLISHED = {
    # This project's own differs from gatys2016 by its total variation and by its padding, which has a test of its own.
    "gatys2016": ("vgg19", "average", gatys2016),
    "coursera": ("vgg19", "average", coursera),
    "johnson2016": ("vgg16", "max", johnson2016),
    "magenta": ("vgg16", "average", magenta),
    "tf-tutorial": ("vgg19", "max", tf_tutorial),
}


def test_every_preset_is_checked():
    assert PUBLISHED.keys() == PRESETS.keys() - {"stylewire", "w2", "histogram"}
    own, base = (preset(name).definition for name in ("stylewire", "gatys2016"))
    assert {name for name in own if own[name] != base[name]} == {"padding", "variation_weight"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_is_what_was_published(name):
    network, pooling, formula = PUBLISHED[name]
    definition = preset(name)
    assert (definition.network, definition.pooling) == (network, pooling)
    pictures = np.random.default_rng(6).random((3, 1, 32, 32, 3), np.float32)
    loaded = weights.load(network, "random:7")
    extractor = Network(loaded, definition.layers, pooling=pooling)
    c, s, g = ({k: v.numpy() for k, v in extractor(tf.constant(p)).items()} for p in pictures)
    ours = Objective(pictures[0], [Style(pictures[1])], definition, loaded).costs(pictures[2])
    assert ours.total_cost == pytest.approx(formula(c, s, g, pictures[2]), rel=1e-4)


def test_any_number_can_be_replaced_and_is_checked():
    base = preset("gatys2016")
    changed = base.replace(style_weight=7.0, content_layers={"relu2_2": 0.5}, network="vgg16")
    assert (changed.style_weight, dict(changed.content_layers), changed.network) == (7.0, {"relu2_2": 0.5}, "vgg16")
    assert base.style_weight == 1.0
    assert (base.replace(network="vgg16").name, changed.name) == ("gatys2016", "gatys2016 (changed)")
    assert changed.replace(pooling="max").name == changed.name
    assert base.replace(name="mine", pooling="max").name == "mine"
    with pytest.raises(InvalidOption, match="vgg16 has no layer 'relu3_4'"):
        base.replace(network="vgg16", style_layers={"relu3_4": 1.0})
    with pytest.raises(InvalidOption, match=r"content_weight is -1\.0"):
        base.replace(content_weight=-1.0)
    with pytest.raises(InvalidOption, match=r"content_layers.relu4_2. is nan"):
        base.replace(content_layers={"relu4_2": float("nan")})
    with pytest.raises(InvalidOption, match="no field 'alpha'"):
        base.replace(alpha=1)
    with pytest.raises(InvalidOption, match="both empty"):
        base.replace(content_layers={}, style_layers={})


@pytest.mark.parametrize(
    "change", [{"content_weight": "3"}, {"style_weight": None}, {"style_layers": ["relu3_3"]}, {"content_layers": 3}]
)
def test_what_is_no_number_is_told(change):
    with pytest.raises(InvalidOption, match="a preset's weights are numbers and its layers a mapping"):
        preset("magenta").replace(**change)


def test_presets_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("coursera").style_weight = 1.0
    with pytest.raises(TypeError):
        preset("coursera").style_layers["relu1_1"] = 3.0


def test_unknown_preset_lists_the_known():
    with pytest.raises(
        InvalidOption,
        match=r"'gatys'.*stylewire, w2, histogram, gatys2016, coursera, johnson2016, magenta, tf-tutorial",
    ):
        preset("gatys")
