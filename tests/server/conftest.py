"""The full model's real graph with random weights: as a SavedModel, and converted. Made once a session."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def saved_model(shared: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of a SavedModel with the generator's kernels, and with random biases and batch norms.

    The generator sets these to zero and one, so a test would not notice if they were ignored.
    """
    spec = importlib.util.spec_from_file_location("generator", shared / "models" / "make_random_savedmodel.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    of_kernel = generator.random_value

    def random_value(name: str, shape: list[int], rng: np.random.Generator) -> np.ndarray:
        if len(shape) == 4:
            return of_kernel(name, shape, rng)
        low, high = (0.7, 1.4) if name.endswith("moving_variance") else (-0.1, 0.1)
        return rng.uniform(low, high, shape).astype(np.float32)

    generator.random_value = random_value
    return made_once("saved_model", lambda folder: generator.main(folder, 0))


@pytest.fixture(scope="session")
def converted(saved_model: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The converted model, fetched from the folder of the SavedModel."""
    from stylewire_server.preparation.fetch import fetch

    return made_once("cache", lambda folder: fetch(folder, source=saved_model, allow_unverified=True)) / "full"


@dataclass(frozen=True)
class Pair:
    """A content and a style picture, float32 [1,H,W,3] in 0..1."""

    content: np.ndarray
    style: np.ndarray


@pytest.fixture(scope="session")
def pairs(photo: Path, style_picture: Path, other_style_picture: Path) -> list[Pair]:
    """Real contents, square and not, in real styles, at 256x256."""

    def load(path: Path, size: tuple[int, int] = (256, 256)) -> np.ndarray:
        from PIL import Image

        with Image.open(path) as image:
            pixels = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        return np.asarray(pixels, np.float32)[np.newaxis] / 255

    cat = photo.with_name("chelsea.jpg")
    return [
        Pair(load(photo), load(style_picture)),
        Pair(load(cat), load(other_style_picture)),
        Pair(load(cat, (300, 200)), load(style_picture)),
    ]


@pytest.fixture(scope="session")
def originals(saved_model: Path, pairs: list[Pair], made_once: Callable) -> list[np.ndarray]:
    """The pictures that the SavedModel itself makes of the pairs. TensorFlow takes long to load it."""
    pytest.importorskip("tensorflow")

    def fill(folder: Path) -> None:
        from stylewire_server.preparation.savedmodel import SavedModel

        original = SavedModel(saved_model)
        for number, pair in enumerate(pairs):
            np.save(folder / f"{number}.npy", original(pair.content, pair.style))

    folder = made_once("originals", fill)
    return [np.load(folder / f"{number}.npy") for number in range(len(pairs))]


@pytest.fixture(scope="session")
def psnr() -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the peak signal-to-noise ratio of two pictures in 0..1, in dB."""

    from stylewire_server.preparation.fetch import psnr as measure

    return measure
