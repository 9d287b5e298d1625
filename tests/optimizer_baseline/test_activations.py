"""Receptive fields against gradients, the deconvnet against its definition, and the command as a whole."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import optimizer_baseline
from optimizer_baseline import cli
from optimizer_baseline.activations.deconv import Deconvnet
from optimizer_baseline.activations.receptive import Geometry, box, geometry, receptive_field
from optimizer_baseline.activations.reconstruct import reconstruct_content
from optimizer_baseline.activations.render import LayerView
from optimizer_baseline.activations.units import peaks, strongest_channels
from optimizer_baseline.errors import InvalidOption
from optimizer_baseline.vgg import weights
from optimizer_baseline.vgg.network import Network

EXAMPLES = Path(optimizer_baseline.__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def positive():
    """A VGG of positive weights: every rectifier is open, so that a gradient shows every pixel that is seen."""
    drawn = weights.load("vgg16", "random:3")
    tensors = {
        name: (np.abs(kernel) * (1e-2 if name == "conv1_1" else 0.05), np.full_like(bias, 100.0))
        for name, (kernel, bias) in drawn.tensors.items()
    }
    return weights.Weights("vgg16", tensors, "positive")


@pytest.mark.parametrize("layer", ["conv1_1", "conv2_2", "pool2", "conv3_1", "pool3", "conv4_1"])
def test_a_unit_sees_its_receptive_field_and_nothing_else(positive, layer):
    """The units are in the middle, in a corner and at the far border. Pooling does not divide the picture's sides."""
    import tensorflow as tf

    height, width = 62, 59
    # Average pooling passes a gradient to every pixel of a window; the windows are the same as for max pooling.
    network = Network(positive, [layer])
    pixels = tf.constant(np.random.default_rng(0).random((1, height, width, 3), np.float32))
    at = geometry("vgg16", layer)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        features = network(pixels)[layer]
        rows, columns = features.shape[1:3]
        places = [(0, 0), (rows // 2, columns // 2), (rows - 1, columns - 1), (rows - 1, 0)]
        units = [features[0, row, column, 0] for row, column in places]
    for (row, column), unit in zip(places, units, strict=True):
        seen = np.abs(tape.gradient(unit, pixels).numpy()[0]).sum(-1) > 0
        ys, xs = seen.any(1).nonzero()[0], seen.any(0).nonzero()[0]
        assert (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1) == box(at, row, column, height, width)


def test_receptive_fields_by_hand():
    """conv1_1: 3; conv1_2: 5; conv2_1 after a pooling: 5 + 1 + 4; conv5_3: 196."""
    assert geometry("vgg16", "conv1_1") == Geometry(stride=1, size=3, before=1)
    assert geometry("vgg16", "relu1_2") == Geometry(stride=1, size=5, before=2)
    assert geometry("vgg16", "conv2_1") == Geometry(stride=2, size=10, before=4)
    assert geometry("vgg16", "conv5_3") == Geometry(stride=16, size=196, before=90)
    assert receptive_field(geometry("vgg16", "conv2_1"), 3, 100) == (2, 12)
    assert receptive_field(geometry("vgg16", "conv2_1"), 0, 100) == (0, 6)


def test_the_deconvnet_goes_up_as_the_network_does(vgg16, real_pair):
    pixels = np.asarray(real_pair[0], np.float32)[None] / 255
    here, _ = Deconvnet(vgg16, "relu3_1").forward(pixels)
    there = Network(vgg16, ["relu3_1"], pooling="max")(pixels)["relu3_1"].numpy()
    np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-2 * there.max())


def test_a_projection_without_rectifiers_in_the_way_is_a_gradient(positive):
    """With positive filters the rectifiers on the way back do nothing: the deconvnet is then the exact transpose."""
    import tensorflow as tf

    pixels = np.random.default_rng(5).random((1, 20, 22, 3), np.float32)
    net = Deconvnet(positive, "relu2_1")
    responses, switches = net.forward(pixels)
    pattern = net.project_unit(responses, switches, 4, 5, 7)
    network = Network(positive, ["relu2_1"], pooling="max")
    x = tf.constant(pixels)
    with tf.GradientTape() as tape:
        tape.watch(x)
        unit = network(x)["relu2_1"][0, 4, 5, 7]
    expected = tape.gradient(unit, x).numpy() * responses[0, 4, 5, 7]
    np.testing.assert_allclose(pattern, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_pattern_stays_inside_what_the_unit_sees(vgg16, real_pair):
    pixels = np.asarray(real_pair[0], np.float32)[None] / 255
    net = Deconvnet(vgg16, "relu3_1")
    responses, switches = net.forward(pixels)
    row, column, channel = np.unravel_index(responses[0].argmax(), responses.shape[1:])
    pattern = np.abs(net.project_unit(responses, switches, row, column, channel)[0]).sum(-1)
    left, top, right, bottom = box(geometry("vgg16", "relu3_1"), row, column, *pixels.shape[1:3])
    assert pattern[top:bottom, left:right].max() > 0
    pattern[top:bottom, left:right] = 0
    assert pattern.max() == 0


def test_peaks_are_the_strongest_and_apart():
    at = Geometry(stride=2, size=8, before=3)
    one, two = np.zeros((10, 10), np.float32), np.zeros((10, 10), np.float32)
    one[5, 5], one[5, 6], one[0, 9] = 9.0, 8.0, 3.0
    two[2, 2] = 5.0
    found = peaks([one, two], [(20, 20), (20, 20)], at, count=9)
    assert [(p.picture, p.row, p.column, p.value) for p in found] == [(0, 5, 5, 9.0), (1, 2, 2, 5.0), (0, 0, 9, 3.0)]
    assert found[2].box == (15, 0, 20, 5)
    assert len(peaks([one, two], [(20, 20)] * 2, at, count=2)) == 2


def test_strongest_channels():
    first, second = np.zeros((1, 2, 2, 4)), np.zeros((1, 3, 3, 4))
    first[0, 0, 1, 2], second[0, 2, 2, 1], second[0, 0, 0, 3] = 5.0, 7.0, 1.0
    assert strongest_channels([first, second], 2) == [1, 2]


def test_a_shallow_layer_remembers_the_picture(vgg16, real_pair):
    from optimizer_baseline.comparison.similarity import psnr
    from optimizer_baseline.images import to_pixels

    image = real_pair[0].resize((48, 40))
    noise = np.random.default_rng(0).random((1, 40, 48, 3), np.float32)
    found = reconstruct_content(image, "conv1_2", network="vgg16", weights="offline", iterations=40)
    assert psnr(to_pixels(found), to_pixels(image)) > psnr(noise, to_pixels(image)) + 8


def test_one_picture_for_each_layer(vgg16, tmp_path, capsys):
    options = ["--size", "64", "--iterations", "3", "--count", "2", "--weights", "offline", "--out", str(tmp_path)]
    code = cli.main(["activations", str(EXAMPLES / "content"), "--layer", "conv1_2", "conv2_1", *options])
    assert code == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / f"{name}.png") for name in ("conv1_2", "conv2_1")]
    with Image.open(tmp_path / "conv1_2.png") as sheet:
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layer": "conv9_1"}, "no layer 'conv9_1'"), ({"layer": "conv1_1", "channels": [64]}, "channel is 64; .* 0..63")],
)
def test_options_are_checked(options, message):
    with pytest.raises(InvalidOption, match=message):
        LayerView(**options)
