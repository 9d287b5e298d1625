"""The extractors against Keras' own VGGs with the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from optimizer_baseline import InvalidImage, InvalidOption
from optimizer_baseline.vgg import architecture, weights
from optimizer_baseline.vgg.network import MEAN_RGB, Network


def keras_features(loaded, layer, pixels):
    """Keras' network in Keras' preprocessing: an independent forward pass with max pooling."""
    module, build = {
        "vgg16": (keras.applications.vgg16, keras.applications.VGG16),
        "vgg19": (keras.applications.vgg19, keras.applications.VGG19),
    }[loaded.network]
    model = build(include_top=False, weights=None, input_shape=pixels.shape[1:])
    for name, (kernel, bias) in loaded.tensors.items():
        model.get_layer(name.replace("conv", "block").replace("_", "_conv")).set_weights([kernel, bias])
    cut = keras.Model(model.input, model.get_layer(layer).output)
    return cut(module.preprocess_input(pixels * 255.0)).numpy()


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_features_are_those_of_keras(network):
    loaded = weights.load(network, "random:3")
    pixels = np.random.default_rng(0).random((2, 48, 40, 3), np.float32)
    ours = Network(loaded, ["relu1_1", "relu3_2", "pool4", "relu5_3"], pooling="max")(tf.constant(pixels))
    for layer, theirs in (
        ("relu1_1", "block1_conv1"),
        ("relu3_2", "block3_conv2"),
        ("pool4", "block4_pool"),
        ("relu5_3", "block5_conv3"),
    ):
        expected = keras_features(loaded, theirs, pixels)
        np.testing.assert_allclose(ours[layer], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_real_weights_know_a_cat(vgg16, shared):
    """Deep responses of a photograph depend on channel order: swapped colors must not look the same."""
    from optimizer_baseline import images

    photo = images.to_pixels(images.fit(images.load(shared / "content" / "chelsea.png"), 224))
    extractor = Network(vgg16, ["relu5_3"], pooling="max")
    right = extractor(tf.constant(photo))["relu5_3"].numpy()
    swapped = extractor(tf.constant(photo[..., ::-1].copy()))["relu5_3"].numpy()
    assert right.sum() > 1.05 * swapped.sum()


def test_conv_is_before_the_rectifier_and_relu_after():
    extractor = Network(weights.load("vgg16", "random"), ["conv2_1", "relu2_1"])
    features = extractor(tf.constant(np.random.default_rng(1).random((1, 16, 16, 3), np.float32)))
    assert features["conv2_1"].numpy().min() < 0
    np.testing.assert_array_equal(features["relu2_1"], np.maximum(features["conv2_1"], 0))


def test_pooling_halves_by_mean_or_maximum():
    pixels = tf.constant(np.random.default_rng(2).random((1, 6, 8, 3), np.float32))
    loaded = weights.load("vgg16", "random")
    whole = Network(loaded, ["relu1_2"])(pixels)["relu1_2"].numpy()
    blocks = whole.reshape(1, 3, 2, 4, 2, 64)
    average = Network(loaded, ["pool1"], pooling="average")(pixels)["pool1"]
    maximum = Network(loaded, ["pool1"], pooling="max")(pixels)["pool1"]
    np.testing.assert_allclose(average, blocks.mean((2, 4)), rtol=1e-5)
    np.testing.assert_allclose(maximum, blocks.max((2, 4)), rtol=1e-5)


@pytest.mark.parametrize("size", [(12, 12), (13, 11), (12, 13)])
@pytest.mark.parametrize("fused", [True, False])
def test_gradient_is_the_one_of_automatic_differentiation(fused, size):
    """The gradients of convolution and pool against TensorFlow's own for the same layers."""
    loaded = weights.load("vgg16", "random:5")
    pixels = tf.constant(np.random.default_rng(3).random((1, *size, 3), np.float32))
    wanted = ["relu2_1"] if fused else ["conv1_1", "conv1_2", "conv2_1", "relu2_1"]
    network = Network(loaded, wanted)

    def plain(x):
        x = (x[..., ::-1] * 255.0) - tf.constant(MEAN_RGB[::-1])
        for name in ("conv1_1", "conv1_2", "pool", "conv2_1"):
            if name == "pool":
                x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
            else:
                kernel, bias = loaded.tensors[name]
                x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
        return x

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        ours = tf.reduce_sum(tf.square(network(pixels)["relu2_1"]))
        theirs = tf.reduce_sum(tf.square(plain(pixels)))
    a, b = tape.gradient(ours, pixels).numpy(), tape.gradient(theirs, pixels).numpy()
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4)
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("size", [(12, 12), (13, 11)])
def test_replicate_padding_and_its_gradient(size):
    """conv1_1 over a picture that is enlarged by its own border, by hand and by automatic differentiation."""
    loaded = weights.load("vgg16", "random:5")
    pixels = tf.constant(np.random.default_rng(3).random((1, *size, 3), np.float32))
    kernel, bias = loaded.tensors["conv1_1"]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        ours = Network(loaded, ["relu1_1"], padding="replicate")(pixels)["relu1_1"]
        x = tf.pad(
            (pixels[..., ::-1] * 255.0) - tf.constant(MEAN_RGB[::-1]), [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"
        )
        theirs = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
        sums = [tf.reduce_sum(tf.square(y)) for y in (ours, theirs)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    a, b = (tape.gradient(total, pixels).numpy() for total in sums)
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
    with pytest.raises(InvalidOption, match="unknown padding 'same'; known: zero, replicate"):
        Network(loaded, ["relu1_1"], padding="same")


def test_nothing_is_built_beyond_the_deepest_layer():
    network = Network(weights.load("vgg16", "random"), ["relu2_1", "relu1_1"])
    assert network.path == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1", "relu2_1")


def test_names_and_sizes():
    assert len(architecture.convolutions("vgg16")) == 13
    assert len(architecture.convolutions("vgg19")) == 16
    assert architecture.layers("vgg19")[-3:] == ("conv5_4", "relu5_4", "pool5")
    assert architecture.smallest_side(["relu1_1"]) == 1
    assert architecture.smallest_side(["relu5_1", "relu1_1"]) == 16
    assert architecture.smallest_side(["pool5"]) == 32


def test_errors_name_the_layer_the_picture_and_the_limit():
    loaded = weights.load("vgg16", "random")
    with pytest.raises(InvalidOption, match="vgg16 has no layer 'conv3_4'"):
        Network(loaded, ["conv3_4"])
    with pytest.raises(InvalidOption, match="unknown pooling 'l2'"):
        Network(loaded, ["conv3_1"], pooling="l2")
    with pytest.raises(InvalidImage, match="20x15 px; layer relu5_1 needs at least 16 px"):
        Network(loaded, ["relu5_1"])(tf.zeros((1, 15, 20, 3)))
    assert Network(loaded, ["relu5_1"])(tf.zeros((1, 16, 16, 3)))["relu5_1"].shape == (1, 1, 1, 512)
