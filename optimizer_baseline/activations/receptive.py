"""Receptive fields: the pixels that a unit sees, at the borders too."""

from __future__ import annotations

from dataclasses import dataclass

from ..vgg import architecture as vgg


@dataclass(frozen=True)
class Geometry:
    """The receptive fields of one layer, along one axis, in pixels of the picture.

    Unit i sees `size` pixels, starting at i * stride - before. Pixels outside the picture are padding.
    """

    stride: int
    size: int
    before: int


def geometry(network: str, layer: str) -> Geometry:
    """Return stride and receptive field of `layer`, accumulated from the picture upwards.

    A 3x3 convolution with one row of padding adds a neighbor on both sides, `stride` pixels away; a 2x2 pooling
    without padding adds one on the far side and doubles the stride. (Dumoulin & Visin 2016: A guide to convolution
    arithmetic for deep learning.)

    Raises:
        InvalidOption: The network has no such layer.
    """
    vgg.check_layers(network, [layer])
    everything = vgg.layers(network)
    stride, size, before = 1, 1, 0
    for name in everything[: everything.index(layer) + 1]:
        if name.startswith("conv"):
            size, before = size + 2 * stride, before + stride
        elif name.startswith("pool"):
            size, stride = size + stride, stride * 2
    return Geometry(stride, size, before)


def receptive_field(geometry: Geometry, index: int, length: int) -> tuple[int, int]:
    """Return the first pixel, and the one after the last, that unit `index` sees along a side of `length` pixels."""
    first = index * geometry.stride - geometry.before
    return max(0, first), min(length, first + geometry.size)


def box(geometry: Geometry, row: int, column: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the pixels that the unit at (row, column) sees, as for PIL's `crop`."""
    top, bottom = receptive_field(geometry, row, height)
    left, right = receptive_field(geometry, column, width)
    return left, top, right, bottom
