"""TensorFlow without Keras, in a process of its own."""

import importlib.util
import subprocess
import sys

import pytest

CODE = """
import importlib.util, sys
from stylewire_server.engine.import_tensorflow import import_tensorflow
import_tensorflow()
import tensorflow as tf
assert float(tf.reduce_sum(tf.ones(3))) == 3.0
assert "keras" not in sys.modules
assert importlib.util.find_spec("keras") is not None
"""


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
def test_keras_is_left_out_and_can_be_imported_later() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
