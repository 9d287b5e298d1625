"""The SavedModel as a whole, and its two halves."""

from pathlib import Path

import numpy as np
import pytest
from stylewire_server.engine.factory import start
from stylewire_server.models.full import full
from stylewire_server.models.network import WeightsError

tf = pytest.importorskip("tensorflow")


def test_the_two_halves_make_the_whole(originals: list, converted: Path, pairs: list) -> None:
    halves = start(full(converted), "tensorflow", "f32", threads=0, streams=1)
    # One square content and one that is not.
    for pair, expected in zip(pairs[1:], originals[1:], strict=True):
        made = halves.transform(pair.content, halves.predict(pair.style))
        assert expected.std() > 0.02
        np.testing.assert_allclose(made, expected, atol=1e-6, rtol=0)


def test_the_whole_is_the_published_call(saved_model: Path, originals: list, pairs: list) -> None:
    pair = pairs[0]
    published = tf.saved_model.load(str(saved_model))(tf.constant(pair.content), tf.constant(pair.style))[0].numpy()
    np.testing.assert_array_equal(originals[0], published)


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    from stylewire_server.preparation.savedmodel import SavedModel

    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.double})
    with pytest.raises(WeightsError, match="it is another model"):
        SavedModel(tmp_path).split()


def test_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    from stylewire_server.preparation.savedmodel import SavedModel

    (tmp_path / "saved_model.pb").write_bytes(b"not a protocol buffer")
    with pytest.raises(WeightsError, match="not a SavedModel") as raised:
        SavedModel(tmp_path)
    assert "\n" not in str(raised.value)
