import functools
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from PIL import Image, ImageDraw
from stylewire_server.engine.import_tensorflow import import_tensorflow

from optimizer_baseline.vgg import weights

# Before a test file imports it with Keras.
import_tensorflow()

SHARED = Path(__file__).resolve().parents[3] / "shared" / "images"


def draw_content(width: int, height: int) -> Image.Image:
    """Draw a scene with edges, a gradient and flat parts."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.2, height * 0.2, width * 0.7, height * 0.8), fill=(200, 60, 40))
    draw.rectangle((width * 0.55, height * 0.1, width * 0.9, height * 0.45), fill=(30, 90, 200))
    return image


def draw_style(width: int, height: int) -> Image.Image:
    """Draw diagonal stripes in two colors."""
    y, x = np.mgrid[:height, :width]
    stripes = ((x + y) // 5 % 2)[..., None]
    return Image.fromarray(np.where(stripes, (250, 210, 40), (20, 40, 90)).astype(np.uint8))


@pytest.fixture(scope="session", autouse=True)
def networks_once() -> Iterator[None]:
    """Draw or read each VGG once: it has millions of numbers, and most tests use the same ones."""
    with pytest.MonkeyPatch.context() as patch:
        for source in ("_random", "_from_offline"):
            patch.setattr(weights, source, functools.lru_cache(4)(getattr(weights, source)))
        yield


@pytest.fixture
def content():
    return draw_content(48, 40)


@pytest.fixture
def style():
    return draw_style(56, 44)


@pytest.fixture(scope="session")
def vgg16():
    """Real VGG-16 weights, from the offline extra."""
    return real_weights("vgg16")


@pytest.fixture(scope="session")
def vgg19():
    """Real VGG-19 weights, from the package that carries them."""
    return real_weights("vgg19")


def real_weights(network: str) -> weights.Weights:
    try:
        return weights.load(network, "offline")
    except weights.WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip(f"no test pictures at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def real_pair(vgg16):
    """A content and a style for runs on real weights. Tests skip if the weights are missing."""
    return draw_content(96, 80), draw_style(96, 80)
