"""Whole runs: with random weights for tests of the program, with real VGG-16 weights for tests of the result."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from optimizer_baseline import (
    BaselineError,
    CustomCost,
    Diverged,
    InvalidImage,
    InvalidOption,
    Settings,
    StopRun,
    images,
    score,
    stylize,
)
from optimizer_baseline.objective.presets import preset

QUICK = {
    "preset": preset("magenta").replace(style_layers={"relu1_2": 0.5e-3, "relu2_2": 0.5e-3}, variation_weight=10.0),
    "weights": "random:1",
    "precision": "f32",
    "size": 48,
}
REAL = {"preset": preset("gatys2016").replace(network="vgg16"), "weights": "offline", "size": 48}


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "gradient-descent"])
def test_every_optimizer_goes_down_and_stays_inside(optimizer, content, style):
    seen = []

    def look(progress):
        pixels = progress.state().pixels
        assert pixels.min() >= 0.0
        assert pixels.max() <= 1.0
        seen.append(progress)

    result = stylize(content, style, optimizer=optimizer, iterations=40, callback=look, **QUICK)
    totals = [p.costs.total_cost for p in result.history]
    assert result.costs.total_cost < 0.5 * totals[0]
    assert result.costs.total_cost <= min(totals)
    assert [p.iteration for p in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].evaluations <= result.evaluations
    assert result.picture.size == content.size


def test_a_weight_beyond_float32_is_refused(content, style):
    cost = QUICK["preset"].replace(style_weight=1e38)
    with pytest.raises(Diverged, match=r"(cost|gradient) became .* at evaluation 1; lower the weights"):
        stylize(content, style, iterations=3, **QUICK | {"preset": cost})


def test_lbfgs_moves_pixels_along_a_bound(style):
    """Most pixels start at 0 or 1: those that have to leave leave, and the cost falls as it does from inside."""
    start = np.zeros((40, 48, 3), np.uint8)
    start[::2] = 255
    result = stylize(start, style, iterations=40, **QUICK)
    assert result.costs.total_cost < 0.5 * result.history[0].costs.total_cost
    assert result.evaluations < 60
    assert result.pixels[0, 0].mean() > 0.0 and result.pixels.max() <= 1.0


def test_several_contents_share_one_call(content, style):
    tall = content.transpose(Image.Transpose.ROTATE_90)
    both = stylize([content, tall], style, iterations=2, **QUICK)
    assert [result.picture.size for result in both] == [(48, 40), (40, 48)]
    alone = stylize(tall, style, iterations=2, **QUICK)
    np.testing.assert_allclose(both[1].pixels, alone.pixels, atol=1e-5)
    with pytest.raises(InvalidOption, match="at least one"):
        stylize([], style, **QUICK)


def test_sixteen_bits_hold_what_eight_cannot(content, style, tmp_path):
    result = stylize(content, style, iterations=2, **QUICK)
    result.save(tmp_path / "deep.png", bits=16)
    deep = tf.io.decode_png((tmp_path / "deep.png").read_bytes(), dtype=tf.uint16).numpy()
    np.testing.assert_allclose(deep / 65535, result.pixels[0], atol=0.6 / 65535)
    assert (deep % 257 != 0).mean() > 0.5
    with pytest.raises(InvalidOption, match=r"16 bits are for \.png"):
        result.save(tmp_path / "deep.jpg", bits=16)


def test_normalized_gradients_weigh_layers_alike(content, style):
    """With a content cost a million times as large, style is still transferred."""
    cost = QUICK["preset"].replace(content_weight=1.0, style_weight=1e4, variation_weight=0.0, normalize_gradients=True)
    options = QUICK | {"optimizer": "adam", "iterations": 20}
    result = stylize(content, style, **options | {"preset": cost})
    assert result.costs.style_cost < 0.7 * result.history[0].costs.style_cost
    # The latest picture, and not the one of the lowest sum, which these gradients do not lead to.
    assert result.costs == result.history[-1].costs
    heavy = stylize(content, style, **options | {"preset": cost.replace(style_normalizer="quarter-mean")})
    np.testing.assert_allclose(heavy.pixels, result.pixels, atol=0.02)
    with pytest.raises(InvalidOption, match="normalized gradients are for adam"):
        stylize(content, style, **QUICK | {"preset": cost})


def test_as_published_is_the_sources_run():
    tutorial = Settings.of(preset="tf-tutorial", as_published=True, iterations=5)
    assert (tutorial.optimizer, tutorial.learning_rate, tutorial.betas, tutorial.epsilon) == (
        "adam", 0.02, (0.99, 0.999), 0.1
    )  # fmt: skip
    assert (tutorial.init, tutorial.scales, tutorial.iterations) == ("content", 1, 5)
    gatys = Settings.of(preset="gatys2016", as_published=True)
    assert (gatys.init, gatys.size, gatys.scales, gatys.cost.padding) == ("noise", 512, 1, "zero")
    with pytest.raises(InvalidOption, match="the source of preset magenta runs no optimizer"):
        Settings.of(preset="magenta", as_published=True)
    usual = Settings()
    assert (usual.cost.name, usual.scales, usual.cost.padding) == ("stylewire", 3, "replicate")


def test_more_memory_than_there_is_has_to_be_accepted(content, style, monkeypatch):
    monkeypatch.setattr("optimizer_baseline.memory.available_gigabytes", lambda: 0.8)
    with pytest.raises(InvalidImage, match=r"48x40 px = 0\.0 Mpx needs about 0\.9 GB of memory; 0\.8 GB are available"):
        stylize(content, style, iterations=1, **QUICK)
    assert stylize(content, style, iterations=1, any_size=True, **QUICK).picture.size == (48, 40)


def test_gradient_descent_never_goes_up(content, style):
    history = stylize(content, style, optimizer="gradient-descent", iterations=25, **QUICK).history
    totals = [p.costs.total_cost for p in history]
    assert len(totals) == 25
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("init", ["noise", "content+noise"])
def test_seeds_repeat_a_run(init, content, style):
    def run(seed):
        return stylize(content, style, init=init, seed=seed, iterations=3, **QUICK).pixels

    np.testing.assert_array_equal(run(1), run(1))
    assert np.abs(run(1) - run(2)).max() > 0.01


def first_cost(content, style, **options):
    """Return the costs of the start."""
    return stylize(content, style, evaluations=1, **(QUICK | options)).costs


def test_starts_are_what_they_say(content, style, tmp_path):
    assert first_cost(content, style, init="content").content_cost == 0.0
    resized = style.resize(content.size)
    assert first_cost(content, resized, init="style").style_cost == pytest.approx(0.0, abs=1e-3)
    assert first_cost(content, style, init=content).content_cost == 0.0
    content.save(tmp_path / "start.png")
    assert first_cost(content, style, init=tmp_path / "start.png").content_cost == 0.0
    noise = {k: first_cost(content, style, init="content+noise", noise=k).content_cost for k in (0.0, 0.3, 1.0)}
    assert 0.0 == noise[0.0] < noise[0.3] < noise[1.0]
    assert first_cost(content, style, init="noise").content_cost == pytest.approx(noise[1.0], rel=1e-4)


def test_feedforward_start_needs_a_server(content, style):
    with pytest.raises(InvalidOption, match="--server HOST:PORT"):
        stylize(content, style, init="feedforward", iterations=1, **QUICK)


def test_coarse_to_fine(content, style):
    options = QUICK | {"size": 160}
    result = stylize(content, style, scales=3, coarse_iterations=2, iterations=3, **options)
    assert [(p.scale, p.width, p.height, p.done) for p in result.history] == [
        (1, 80, 66, 1), (1, 80, 66, 2),
        (2, 113, 94, 1), (2, 113, 94, 2),
        (3, 160, 133, 1), (3, 160, 133, 2), (3, 160, 133, 3),
    ]  # fmt: skip
    assert result.picture.size == (160, 133)
    assert result.history[-1].evaluations <= result.evaluations
    # Scales below 64 px are left out.
    assert len(Settings(scales=9).sizes(256, 128)) == 3


def test_evaluations_are_a_limit_over_all_scales(content, style):
    options = QUICK | {"size": 128}
    result = stylize(content, style, scales=2, iterations=50, coarse_iterations=4, evaluations=9, **options)
    assert result.evaluations == 9
    assert "evaluations are used up" in result.stopped


def test_a_callback_can_stop_a_run_and_keeps_the_best(content, style):
    def stop(progress):
        if progress.iteration == 4:
            raise StopRun("enough")

    result = stylize(content, style, iterations=50, callback=stop, **QUICK)
    assert (len(result.history), result.stopped) == (4, "enough")
    assert result.costs.total_cost <= min(p.costs.total_cost for p in result.history)


def test_the_picture_of_the_moment_and_only_of_the_moment(content, style):
    pictures = []
    result = stylize(content, style, iterations=2, callback=lambda p: pictures.append(p.picture()), **QUICK)
    assert pictures[0].size == content.size
    assert np.asarray(pictures[0]).tolist() != np.asarray(pictures[1]).tolist()
    with pytest.raises(InvalidOption, match="inside the callback"):
        result.history[0].picture()


def test_a_resumed_run_goes_on_where_it_stood(content, style):
    states = []
    stylize(content, style, iterations=6, callback=lambda p: states.append(p.state()), **QUICK)
    rest = stylize(content, style, iterations=10, resume=states[-1], **QUICK)
    assert [p.iteration for p in rest.history] == [7, 8, 9, 10]
    assert rest.history[-1].iterations == 10
    assert rest.history[0].evaluations > states[-1].evaluations
    straight = stylize(content, style, iterations=6, **QUICK)
    assert rest.costs.total_cost < straight.costs.total_cost
    with pytest.raises(InvalidOption, match="the run is complete"):
        stylize(content, style, iterations=6, resume=states[-1], **QUICK)


def test_nan_stops_with_the_best_so_far(content, style):
    def explode(features):
        # Finite at the start, NaN once the picture has moved away from it.
        return tf.math.log(room - tf.reduce_mean(tf.square(features["relu1_1"] - start)))

    from optimizer_baseline.vgg import network, weights

    loaded = weights.load("vgg16", "random:1")
    start = network.Network(loaded, ["relu1_1"])(tf.constant(images.to_pixels(content)))["relu1_1"]
    custom = CustomCost(["relu1_1"], explode)
    room = 1e-6
    with pytest.raises(Diverged, match="cost became nan at evaluation 2; lower"):
        stylize(content, style, iterations=9, custom=custom, **QUICK)
    room = 100.0
    result = stylize(content, style, optimizer="adam", iterations=99, custom=CustomCost(["relu1_1"], explode), **QUICK)
    assert "nan" in result.stopped
    assert 1 < len(result.history) < 99
    assert result.costs.total_cost == min(p.costs.total_cost for p in result.history)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "gradient-descent"])
def test_a_huge_weight_changes_the_unit_and_not_the_run(content, style, optimizer):
    """A cost of 1e30 times another one has the same pictures on its way down."""
    options = QUICK | {"optimizer": optimizer, "iterations": 5}
    runs = []
    for weight in (1.0, 1e30):
        cost = preset("johnson2016").replace(content_weight=0.0, variation_weight=0.0, style_weight=weight)
        runs.append(stylize(content, style, **options | {"preset": cost}))
    costs = [[step.costs.total_cost for step in run.history] for run in runs]
    assert costs[1][-1] < 0.9 * costs[1][0]
    np.testing.assert_allclose(np.array(costs[1]) / 1e30, costs[0], rtol=0.05)


def test_a_line_search_may_try_what_it_likes(real_pair):
    # Nothing but total variation is far from its least at the start, and the first step tried is far from the content.
    cost = preset("johnson2016").replace(style_weight=0.0)
    tried = []
    options = {"preset": cost, "weights": "offline", "precision": "f32", "size": 64}
    result = stylize(*real_pair, iterations=3, callback=lambda p: tried.append(p.evaluations), **options)
    assert tried[0] > 2
    assert len(result.history) == 3
    assert result.costs.total_cost == result.history[-1].costs.total_cost < result.history[0].costs.total_cost


def test_lbfgs_stops_where_no_step_moves_a_pixel(real_pair):
    options = {"preset": "johnson2016", "weights": "offline", "size": 20}
    result = stylize(*real_pair, precision="bf16", iterations=3000, **options)
    assert result.stopped == "no step lowers the cost any more"
    assert len(result.history) < 3000
    assert result.evaluations < 2 * len(result.history) + 50


def test_a_resumed_run_keeps_its_best(content, style):
    states = []
    options = QUICK | {"optimizer": "adam", "learning_rate": 0.9}
    first = stylize(content, style, iterations=6, callback=lambda p: states.append(p.state()), **options)
    assert first.costs.total_cost < first.history[-1].costs.total_cost
    rest = stylize(content, style, iterations=7, resume=states[-1], **options)
    assert rest.costs.total_cost <= first.costs.total_cost


def test_a_run_resumed_between_two_scales_goes_on_from_the_best(content, style):
    options = QUICK | {"optimizer": "adam", "learning_rate": 0.9, "size": 128, "scales": 2, "coarse_iterations": 6}
    states = []
    large = content.resize((128, 128))
    whole = stylize(large, style, iterations=1, callback=lambda p: states.append(p.state()), **options)
    assert (states[5].scale, states[5].done, states[6].scale) == (1, 6, 2)
    assert not np.array_equal(states[5].pixels, states[5].best)
    rest = stylize(large, style, iterations=1, resume=states[5], **options)
    assert rest.history[0].costs.total_cost == pytest.approx(whole.history[6].costs.total_cost, rel=1e-5)


COARSE = {"size": 128, "scales": 2, "iterations": 6}


def test_a_run_that_ends_at_a_coarse_scale_tells_the_cost_of_what_it_returns(content, style):
    large = content.resize((128, 128))
    result = stylize(large, style, evaluations=4, **QUICK | COARSE)
    assert result.history[-1].scale == 1
    settings = {name: QUICK[name] for name in ("preset", "weights", "precision")}
    measured = score(large, style, result.picture, size=128, **settings).costs.total_cost
    assert result.costs.total_cost == pytest.approx(measured, rel=5e-3)
    assert result.costs.content_cost > 1.1 * result.history[-1].costs.content_cost


def test_nan_at_a_finer_scale_keeps_the_coarser_one(content, style):
    factor = tf.Variable(1.0)
    custom = CustomCost(["relu1_1"], lambda features: factor * tf.reduce_mean(features["relu1_1"]))

    def spoil(progress):
        if progress.iteration == 6:
            factor.assign(np.nan)

    result = stylize(content.resize((128, 128)), style, custom=custom, callback=spoil, **QUICK | COARSE)
    assert "nan" in result.stopped
    assert len(result.history) == 6
    assert result.picture.size == (128, 128)


def test_a_custom_cost_is_one_number(content, style):
    custom = CustomCost(["relu1_1"], lambda features: features["relu1_1"][0, 0, 0])
    with pytest.raises(InvalidOption, match=r"the custom cost has shape \(64,\); it is one number"):
        stylize(content, style, custom=custom, iterations=1, **QUICK)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"iterations": 2.5}, "iterations is 2.5; it is a whole number"),
        ({"size": "64"}, "size is '64'; it is a whole number"),
        ({"scales": None}, "scales is None; it is a whole number"),
        ({"preset": None}, "preset is None; it is a name or a Preset"),
        ({"rescale": "a.png"}, "rescale is 'a.png'; it is a list of pictures"),
        ({"masks": "mask.png"}, "mask: no file mask.png"),
    ],
)
def test_what_a_setting_cannot_be_is_told(content, style, wrong, message):
    with pytest.raises(BaselineError, match=message):
        stylize(content, style, **QUICK | wrong)


def test_a_flat_style_keeps_the_height_that_the_network_needs(content):
    flat = images.to_image(np.random.default_rng(0).random((1, 20, 160, 3), np.float32))
    options = {"preset": "gatys2016", "weights": "random:1", "precision": "f32", "size": 160, "iterations": 1}
    wide = content.resize((160, 128))
    assert len(stylize(wide, flat, scales=3, **options).history) == 3


def test_preserve_color_keeps_chroma(content, style):
    result = stylize(content, style, preserve_color=True, iterations=10, **QUICK)
    yiq, original = (p @ images.RGB_TO_YIQ.T for p in (result.pixels, images.to_pixels(content)))
    inside = ((result.pixels > 0.0) & (result.pixels < 1.0)).all(-1)
    np.testing.assert_allclose(yiq[..., 1:][inside], original[..., 1:][inside], atol=5e-3)
    assert np.abs(yiq[..., 0] - original[..., 0]).mean() > 0.02


def test_masks_send_each_style_to_its_side(style):
    gray = np.full((64, 64, 3), 128, np.uint8)
    red, blue = (np.full((64, 64, 3), color, np.uint8) for color in ((230, 30, 30), (30, 30, 230)))
    left = np.zeros((64, 64), np.uint8)
    left[:, :32] = 255
    options = QUICK | {"size": 64, "preset": QUICK["preset"].replace(content_weight=0.0)}
    result = stylize(gray, [red, blue], masks=[left, 255 - left], iterations=30, **options)
    a, b = result.pixels[0, :, 4:24].mean((0, 1)), result.pixels[0, :, 40:60].mean((0, 1))
    assert a[0] > a[2] + 0.2
    assert b[2] > b[0] + 0.2


def test_style_size_is_used(content, style):
    costs = [first_cost(content, style, style_size=size).style_cost for size in (32, 96)]
    assert costs[0] != pytest.approx(costs[1], rel=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "monet"}, "unknown preset 'monet'"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'"),
        ({"precision": "f16"}, "unknown precision 'f16'"),
        ({"iterations": 0}, "iterations is 0; the minimum is 1"),
        ({"size": 3}, "size is 3; the minimum is 16 px"),
        ({"noise": 1.5}, r"noise is 1\.5"),
        ({"learning_rate": 0.1}, "lbfgs finds its own step"),
        ({"learning_rate": float("inf"), "optimizer": "adam"}, "learning rate is inf"),
        ({"color": True}, "color"),
    ],
)
def test_bad_options(options, message, content, style):
    with pytest.raises(InvalidOption, match=message):
        stylize(content, style, **options)


def test_lists_that_do_not_match(content, style):
    with pytest.raises(InvalidOption, match="2 style weights for 1 style pictures"):
        stylize(content, style, style_weights=[1, 2], **QUICK)
    with pytest.raises(InvalidOption, match="at least one"):
        stylize(content, [], **QUICK)


@pytest.fixture(scope="module")
def real_lbfgs(real_pair):
    return stylize(*real_pair, iterations=40, precision="f32", **REAL)


def test_real_run_arrives(real_lbfgs):
    """On ImageNet features 30 iterations of L-BFGS leave under 1 % of the first cost, and 40 go on from there."""
    start, later = (real_lbfgs.history[index].costs.total_cost for index in (0, 30))
    assert later < 0.01 * start
    assert real_lbfgs.costs.total_cost < later
    assert real_lbfgs.costs.content_cost > 0


def test_the_usual_preset_arrives_on_its_own_network(real_pair, vgg19):
    """`stylewire` as it stands, on VGG-19."""
    result = stylize(*real_pair, iterations=50, size=48, weights="offline", precision="f32")
    assert result.costs.total_cost < 0.02 * result.history[0].costs.total_cost


@pytest.fixture(scope="module")
def real_adam(real_pair):
    return stylize(*real_pair, optimizer="adam", iterations=50, precision="f32", **REAL)


def test_adam_agrees_on_the_order(real_lbfgs, real_adam):
    """50 iterations of Adam are worth 10 of L-BFGS, give or take a factor of 3."""
    assert 0.3 < real_adam.costs.total_cost / real_lbfgs.history[10].costs.total_cost < 3.0


def test_bfloat16_ends_where_float32_does(real_adam, real_pair):
    """Both pictures are scored in float32: the bf16 run's is within 20 % of the other's cost.

    The runs are Adam's: a small difference early in a run of L-BFGS changes each of its later steps.
    """
    rounded = stylize(*real_pair, optimizer="adam", iterations=50, precision="bf16", **REAL)
    assert rounded.precision == "bf16"
    a, b = score(*real_pair, [real_adam.picture, rounded.picture], **REAL)
    assert b.costs.total_cost == pytest.approx(a.costs.total_cost, rel=0.2)
