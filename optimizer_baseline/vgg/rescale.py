"""The norm-rescaled VGG of Gatys et al. 2016: filters whose mean response is 1."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from stylewire_server.engine.import_tensorflow import import_tensorflow

from .. import images
from ..errors import WeightsError
from . import architecture, weights
from .network import Network
from .weights import Weights

RESCALE_SIDE = 256
"""Longer side in pixels of the pictures that a network is rescaled on: about that of ImageNet's training pictures."""


def load_rescaled(
    network: str,
    source: str | Path | Weights = "auto",
    pictures: Iterable[images.Picture] = (),
    pooling: str = "average",
) -> Weights:
    """Return the weights of `network` from `source`, rescaled over `pictures`; unchanged without pictures.

    Args:
        source: A source as for `weights.load`, or loaded weights.

    Raises:
        WeightsError, InvalidOption: `weights.load` raises them.
        InvalidImage: A picture cannot be read.
    """
    loaded = source if isinstance(source, Weights) else weights.load(network, source)
    # Here, because every run, score and tuning loads its weights before it uses TensorFlow.
    import_tensorflow()
    pixels = [images.to_pixels(images.fit(images.load(p, "rescale"), RESCALE_SIDE)) for p in pictures]
    return rescale(loaded, pixels, pooling) if pixels else loaded


def rescale(loaded: Weights, pictures: Iterable[NDArray[np.float32]], pooling: str = "average") -> Weights:
    """Return the norm-rescaled network of Gatys et al. 2016, section 2.

    Each filter and its bias are divided by the filter's mean rectified response over all pictures and positions. The
    kernels that read the filter are multiplied by the same number. Mean responses become 1. A VGG is piecewise linear,
    so every layer keeps its responses up to one factor per filter. The paper measures over ImageNet's validation
    pictures; other pictures give other factors.

    Args:
        loaded: The network as published.
        pictures: At least one, float32 [1, H, W, 3], RGB, 0..1.
        pooling: The pooling of the network that will use the weights.

    Raises:
        WeightsError: There is no picture.
    """
    relus = [name.replace("conv", "relu") for name in architecture.convolutions(loaded.network)]
    network = Network(loaded, relus, pooling=pooling)
    sums = {name: np.zeros(architecture.channels(name)) for name in relus}
    positions = dict.fromkeys(relus, 0)
    for picture in pictures:
        for name, features in network(picture).items():
            values = features.numpy()
            sums[name] += values.sum((0, 1, 2), dtype=np.float64)
            positions[name] += values[..., 0].size
    if not all(positions.values()):
        raise WeightsError("rescaling needs at least one picture")
    tensors = {}
    before = np.ones(3)
    for conv, relu in zip(architecture.convolutions(loaded.network), relus, strict=True):
        mean = sums[relu] / positions[relu]
        # A filter that these pictures (almost) never excite keeps a bounded scale.
        mean = np.maximum(mean, 1e-3 * mean.mean() + 1e-12)
        kernel, bias = loaded.tensors[conv]
        scaled = kernel * before[:, None] / mean
        tensors[conv] = (scaled.astype(np.float32), (bias / mean).astype(np.float32))
        before = mean
    return Weights(loaded.network, tensors, f"{loaded.source}, rescaled", rescaled=True)
