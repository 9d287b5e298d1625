"""Each cost against numbers computed by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from optimizer_baseline import InvalidOption
from optimizer_baseline.objective import costs
from optimizer_baseline.objective.style_losses import STYLE_LOSSES

# Two positions, two filters: rows are positions.
F = tf.constant([[[[1.0, 2.0], [3.0, 4.0]]]])
P = tf.constant([[[[0.0, 2.0], [3.0, 1.0]]]])


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    # Squared differences 1, 0, 0, 9 sum to 10; there are 4 elements.
    [("half", 5.0), ("mean", 2.5), ("quarter-mean", 0.625)],
)
def test_content_cost(normalizer, expected):
    assert float(costs.content_cost(F, P, normalizer)) == pytest.approx(expected)
    assert float(costs.content_cost(F, F, normalizer)) == 0.0


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    # Sums over positions: 1+9, 2+12, 4+16; over 2 positions, or over 4 elements.
    [("positions", [[5.0, 7.0], [7.0, 10.0]]), ("elements", [[2.5, 3.5], [3.5, 5.0]])],
)
def test_gram_matrix(normalizer, expected):
    np.testing.assert_allclose(costs.gram_matrix(F, normalizer), expected)


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    # Gram of P over positions is [[4.5, 1.5], [1.5, 2.5]]; differences 0.5, 5.5, 5.5, 7.5 squared sum to 117.
    [("quarter-mean", 117.0 / 16.0), ("mean", 117.0 / 4.0)],
)
def test_style_cost(normalizer, expected):
    gram, target = costs.gram_matrix(F), costs.gram_matrix(P)
    assert float(costs.style_cost(gram, target, normalizer)) == pytest.approx(expected)
    assert float(costs.style_cost(gram, gram, normalizer)) == 0.0


def test_style_cost_is_equation_4_of_gatys_2016():
    generator = np.random.default_rng(1)
    f, a = generator.random((2, 1, 3, 4, 5), np.float32)
    n, m = 5, 12
    gram, target = (x.reshape(m, n).T @ x.reshape(m, n) for x in (f, a))
    published = ((gram - target) ** 2).sum() / (4 * n**2 * m**2)
    ours = costs.style_cost(costs.gram_matrix(tf.constant(f)), costs.gram_matrix(tf.constant(a)), "quarter-mean")
    assert float(ours) == pytest.approx(published, rel=1e-5)


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 7), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_gram_ignores_where_things_are(seed, height, width, channels):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(1, height, width, channels)).astype(np.float32)
    shuffled = generator.permutation(features.reshape(-1, channels)).reshape(features.shape)
    np.testing.assert_allclose(
        costs.gram_matrix(tf.constant(features)), costs.gram_matrix(tf.constant(shuffled)), atol=1e-5
    )


def test_gram_has_the_gradient_of_its_formula():
    features = tf.constant(np.random.default_rng(2).normal(size=(1, 3, 3, 4)).astype(np.float32))
    weight = tf.constant(np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        ours = tf.reduce_sum(weight * costs.gram_matrix(features))
        rows = tf.reshape(features, (-1, 4))
        plain = tf.reduce_sum(weight * tf.matmul(rows, rows, transpose_a=True) / 9.0)
    np.testing.assert_allclose(tape.gradient(ours, features), tape.gradient(plain, features), rtol=1e-4, atol=1e-6)


def test_mask_limits_the_gram_matrix_to_where_it_is_white():
    features = np.random.default_rng(4).random((1, 4, 6, 3), np.float32)
    mask = np.zeros((1, 4, 6, 1), np.float32)
    mask[:, :, :2] = 1.0
    masked = costs.gram_matrix(tf.constant(features), mask=tf.constant(mask))
    np.testing.assert_allclose(masked, costs.gram_matrix(tf.constant(features[:, :, :2])), rtol=1e-5)


@pytest.mark.parametrize(
    ("form", "expected"),
    # One red value of 1 in the last column of a 2x3 picture: one dx of 12, one dy of 9, which "squared-255" leaves out.
    [("absolute", 2.0), ("squared-mean", 1 / 12 / 2 + 1 / 9 / 2), ("squared-255", 255.0**2 / 2)],
)
def test_total_variation(form, expected):
    pixels = np.zeros((1, 2, 3, 3), np.float32)
    pixels[0, 0, 2, 0] = 1.0
    assert float(costs.total_variation(tf.constant(pixels), form)) == pytest.approx(expected)
    assert float(costs.total_variation(tf.ones((1, 4, 4, 3)), form)) == 0.0


def test_absolute_total_variation_is_tensorflows():
    pixels = np.random.default_rng(5).random((1, 7, 9, 3), np.float32)
    expected = float(tf.image.total_variation(tf.constant(pixels))[0])
    assert float(costs.total_variation(tf.constant(pixels), "absolute")) == pytest.approx(expected, rel=1e-5)


def test_unknown_normalizers_are_named():
    with pytest.raises(InvalidOption, match=r"'third'.*half, mean, quarter-mean"):
        costs.content_cost(F, P, "third")
    with pytest.raises(InvalidOption, match=r"'area'.*positions, elements"):
        costs.gram_matrix(F, "area")
    with pytest.raises(InvalidOption, match="'total'"):
        costs.total_variation(tf.ones((1, 2, 2, 3)), "total")


def test_wasserstein_cost_is_the_distance_of_gaussians():
    generator = np.random.default_rng(2)
    f, s = (generator.random((1, 9, 11, 4), np.float32) * scale for scale in (2.0, 3.0))
    (m, k), (ms, ks) = ((x.reshape(-1, 4).mean(0), np.cov(x.reshape(-1, 4).T, bias=True)) for x in (f, s))
    root = sqrtm(ks)
    expected = ((m - ms) ** 2).sum() + np.trace(k + ks - 2 * sqrtm(root @ k @ root).real)
    target = costs.gaussian_target(costs.moments(tf.constant(s)))
    sums = [np.float64(each) for each in costs.moment_sums(tf.constant(f))]
    for moments in (costs.moments(tf.constant(f)), costs.moments_of_sums(sums)):
        assert float(costs.wasserstein_cost(moments, target)) == pytest.approx(expected / 4, rel=1e-3)


def test_histogram_cost_compares_each_channel_by_rank():
    values = np.arange(1024, dtype=np.float32)
    shuffled = np.random.default_rng(3).permutation(values)
    style = np.stack([values, values[::-1]], 1).reshape(1, 32, 32, 2)
    target = costs.histogram_target(tf.constant(style))
    assert float(costs.histogram_cost(tf.constant(style), target)) < 1.0  # Of a range of 1024.
    shifted = np.stack([shuffled, shuffled + 10], 1).reshape(1, 32, 32, 2)
    assert float(costs.histogram_cost(tf.constant(shifted), target)) == pytest.approx(50.0, rel=0.02)


@pytest.mark.parametrize("name", ["w2", "histogram"])
class TestOtherStyleLosses:
    """What both losses beside the Gram matrix have in common."""

    @pytest.fixture
    def target(self, name):
        loss = STYLE_LOSSES[name]
        return lambda features: loss.target(loss.statistics(features, None, "positions"))

    @pytest.fixture
    def cost(self, name):
        loss = STYLE_LOSSES[name]
        return lambda features, target, mask=None: loss.cost(
            loss.statistics(features, mask, "positions"), target, "mean"
        )

    def features(self, scale: float = 1.0) -> tf.Tensor:
        # The last channel is silent, as many of VGG's are for one picture.
        noise = np.random.default_rng(4).random((1, 12, 16, 5), np.float32) * scale
        return tf.constant(np.concatenate([np.maximum(noise - 0.3, 0), np.zeros_like(noise[..., :1])], -1))

    def test_costs_nothing_for_the_style_itself(self, target, cost):
        x = self.features(100.0)
        assert abs(float(cost(x, target(x)))) < 0.01

    def test_has_the_gradient_of_its_formula(self, target, cost):
        x, wanted = self.features(), target(self.features(2.0) ** 2)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = cost(x, wanted)
        slope = tape.gradient(value, x)
        step = 1e-3 * slope / tf.norm(slope)
        rise = float(cost(x + 10 * step, wanted)) - float(cost(x - 10 * step, wanted))
        assert rise == pytest.approx(20 * 1e-3 * float(tf.norm(slope)), rel=0.02)

    def test_a_white_mask_is_no_mask_and_black_positions_do_not_count(self, target, cost):
        x, wanted = self.features(), target(self.features(2.0))
        mask = np.ones((1, 12, 16, 1), np.float32)
        assert float(cost(x, wanted, tf.constant(mask))) == pytest.approx(float(cost(x, wanted)), rel=1e-3)
        mask[:, :, 8:] = 0
        half = float(cost(x[:, :, :8], wanted))
        assert float(cost(x, wanted, tf.constant(mask))) == pytest.approx(half, rel=1e-3)
