"""The layers of VGG-16 and VGG-19, by name (Simonyan & Zisserman 2015, configurations D and E).

Layers have the names of the literature: `conv3_1` is the response before the rectifier, `relu3_1` the response after
it, `pool3` the pooled block. Much published code says "conv3_1" and means the rectified response. The presets here say
`relu3_1` for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import InvalidOption

NETWORKS: Mapping[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Number of convolutions in each block."""

FILTERS = (64, 128, 256, 512, 512)
"""Number of filters of each convolution, by block."""

POOLINGS = ("average", "max")
PADDINGS = ("zero", "replicate")
"""Padding of conv1_1: zero is the mean color, as in training; replicate repeats the picture's border."""


def convolutions(network: str) -> tuple[str, ...]:
    """Return the names of the convolutions of `network`, first to last: conv1_1 … conv5_3 or conv5_4."""
    if network not in NETWORKS:
        raise InvalidOption(f"unknown network {network!r}; known: {', '.join(NETWORKS)}")
    return tuple(f"conv{b}_{i}" for b, n in enumerate(NETWORKS[network], 1) for i in range(1, n + 1))


def layers(network: str) -> tuple[str, ...]:
    """Return all layers of `network` in the order in which a picture passes them."""
    names: list[str] = []
    for conv in convolutions(network):
        block, index = int(conv[4]), int(conv[6:])
        names += [conv, conv.replace("conv", "relu")]
        if index == NETWORKS[network][block - 1]:
            names.append(f"pool{block}")
    return tuple(names)


def channels(layer: str) -> int:
    """Return the number of filters of a layer: 64 in block 1 to 512 in blocks 4 and 5."""
    return FILTERS[int(layer[4]) - 1]


def check_layers(network: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return `names` without duplicates, in network order.

    Raises:
        InvalidOption: The network has no such layer.
    """
    order = {name: position for position, name in enumerate(layers(network))}
    wanted = set(names)
    if unknown := sorted(wanted - order.keys()):
        raise InvalidOption(f"{network} has no layer {unknown[0]!r}; it has {', '.join(order)}")
    return tuple(sorted(wanted, key=order.__getitem__))


def smallest_side(names: Iterable[str]) -> int:
    """Return the shortest side in pixels at which every layer in `names` has a position. A pool halves the side."""
    return max(stride(name) for name in names)


def stride(layer: str) -> int:
    """Return the distance in pixels between neighboring positions of a layer: 1 in block 1 to 16 in block 5."""
    return 1 << (int(layer[4]) - (not layer.startswith("pool")))


def reach(path: Iterable[str]) -> int:
    """Return how many pixels the last position of a layer sees to each side. `path` are the layers up to it."""
    # A 3x3 convolution sees one position more to each side, and a 2x2 pool one more to the right.
    pools_and_convolutions = (name for name in path if not name.startswith("relu"))
    return sum(stride(name) >> name.startswith("pool") for name in pools_and_convolutions)
