"""The import of TensorFlow, in half the time and without 185 MB."""

import importlib
import sys


def import_tensorflow() -> None:
    """Import TensorFlow without Keras, which nothing here uses. Later, `import keras` and `tf.keras` work as always.

    At the end of its own import, TensorFlow imports Keras only to register Keras' optimizers, and does without a Keras
    that is not installed (tensorflow/__init__.py, 2.16 and newer).

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    if "tensorflow" in sys.modules or "keras" in sys.modules:
        importlib.import_module("tensorflow")
        return
    # Python's mark of a module that cannot be imported.
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("tensorflow")
    finally:
        del sys.modules["keras"]
