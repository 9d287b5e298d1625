"""A picture of one layer: maps, the patches and patterns of its units, and reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import images
from ..canvas import Sheet, Tile
from ..errors import InvalidOption
from ..vgg import architecture as vgg
from ..vgg import weights as vgg_weights
from .deconv import Deconvnet
from .receptive import geometry
from .reconstruct import reconstruct_content, reconstruct_style, rectified, style_layers
from .units import Peak, peaks, strongest_channels

MAP_SIDE, PATCH_SIDE, PER_ROW = 150, 50, 3
GRAY = (128, 128, 128)


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """The options of a layer's picture.

    Attributes:
        channels: Numbers of the channels. None takes the `count` channels that respond most strongly to any picture.
        size: Longer side of the pictures in pixels.
        top: Number of patches for each unit.
        iterations: Iterations of each reconstruction; 0 leaves the reconstructions out.
    """

    layer: str
    channels: Sequence[int] | None = None
    count: int = 6
    size: int = 224
    top: int = 9
    iterations: int = 100
    network: str = "vgg16"
    weights: str = "auto"

    def __post_init__(self) -> None:
        vgg.check_layers(self.network, [self.layer])
        for name, least in (("count", 1), ("size", 32), ("top", 1), ("iterations", 0)):
            if getattr(self, name) < least:
                raise InvalidOption(f"{name} is {getattr(self, name)}; the minimum is {least}")
        most = vgg.channels(self.layer)
        for channel in self.channels or ():
            if not 0 <= channel < most:
                raise InvalidOption(f"channel is {channel}; {self.layer} has 0..{most - 1}")


def render(files: Sequence[Path], view: LayerView, report: Callable[[str], None] = lambda step: None) -> Image.Image:
    """Return the sheet of `view.layer`: maps and reconstructions of the first of `files`, patches from all of them.

    Raises:
        BaselineError: InvalidImage, InvalidOption or WeightsError.
    """
    if not files:
        raise InvalidOption("no picture; at least one is needed")
    report(f"{view.layer}: responses to {len(files)} pictures")
    pictures = [images.fit(images.load(file), view.size) for file in files]
    pixels = [images.to_pixels(picture) for picture in pictures]
    net = Deconvnet(vgg_weights.load(view.network, view.weights), rectified(view.layer))
    passes = [net.forward(p) for p in pixels]
    responses = [np.maximum(r, 0.0) for r, _ in passes]
    chosen = list(view.channels or strongest_channels(responses, view.count))
    at = geometry(view.network, view.layer)
    height, width = responses[0].shape[1:3]
    sheet = Sheet(
        f"{view.layer} of {view.network.upper()}",
        f"{vgg.channels(view.layer)} channels; each of {width} x {height} units sees {at.size} x {at.size} px, "
        f"{at.stride} px apart",
    )
    sheet.text(f"Where its units respond to {files[0].stem}")
    tiles = [Tile(_within(pictures[0], MAP_SIDE), files[0].stem)]
    sheet.row([*tiles, *(Tile(_heat(responses[0][0, :, :, c], pictures[0].size), f"channel {c}") for c in chosen)])
    sheet.text(f"What excites them most in {len(files)} pictures, and the pattern in it that does (deconvnet)")
    row: list[Tile] = []
    for channel in chosen:
        report(f"{view.layer}: channel {channel}")
        found = peaks([r[0, :, :, channel] for r in responses], [p.shape[1:3] for p in pixels], at, view.top)
        patches = [pictures[peak.picture].crop(peak.box) for peak in found]
        patterns = [_pattern(net, passes[peak.picture], peak, channel) for peak in found]
        row += [
            Tile(_mosaic(patches, view.top, at.size), f"channel {channel}"),
            Tile(_mosaic(patterns, view.top, at.size)),
        ]
        if len(row) >= 2 * PER_ROW:
            sheet.row(row)
            row = []
    if row:
        sheet.row(row)
    if view.iterations:
        sheet.text(f"What it remembers of {files[0].stem}, from noise in {view.iterations} iterations")
        options = {"network": view.network, "weights": view.weights, "iterations": view.iterations}
        report(f"{view.layer}: content reconstruction")
        content = reconstruct_content(pictures[0], view.layer, **options)  # type: ignore[arg-type]
        report(f"{view.layer}: style reconstruction")
        style = reconstruct_style(pictures[0], view.layer, **options)  # type: ignore[arg-type]
        names = style_layers(view.layer)
        through = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        sheet.row(
            [
                Tile(pictures[0], "the picture"),
                Tile(content, f"content from {rectified(view.layer)}"),
                Tile(style, f"style from {through}"),
            ]
        )
    return sheet.render()


def _pattern(
    net: Deconvnet, forward: tuple[NDArray[np.float32], dict[str, object]], peak: Peak, channel: int
) -> Image.Image:
    """Return one activation's projection, cropped to the pixels that the unit sees; gray where it is 0."""
    whole = net.project_unit(*forward, peak.row, peak.column, channel)[0]
    left, top, right, bottom = peak.box
    patch = whole[top:bottom, left:right]
    return images.to_image(0.5 + 0.5 * patch[None] / (np.abs(patch).max() or 1.0))


def _heat(response: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    """Return a channel's responses in color, black for 0. Each unit is one rectangle, without smoothing."""
    import matplotlib

    values = response / (float(response.max()) or 1.0)
    colored = matplotlib.colormaps["inferno"](values)[:, :, :3]
    picture = images.to_image(colored[None].astype(np.float32))
    return picture.resize(_within_size(size, MAP_SIDE), Image.Resampling.NEAREST)


def _mosaic(patches: Sequence[Image.Image], count: int, field: int) -> Image.Image:
    """Return patches at one scale, three in a row. A patch that the picture's border cuts off is smaller."""
    columns = min(3, count)
    rows = -(-count // columns)
    mosaic = Image.new("RGB", (columns * (PATCH_SIDE + 1), rows * (PATCH_SIDE + 1)), GRAY)
    for number, patch in enumerate(patches):
        scale = PATCH_SIDE / field
        size = (max(1, round(patch.width * scale)), max(1, round(patch.height * scale)))
        method = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
        x, y = number % columns * (PATCH_SIDE + 1), number // columns * (PATCH_SIDE + 1)
        mosaic.paste(patch.resize(size, method), (x + (PATCH_SIDE - size[0]) // 2, y + (PATCH_SIDE - size[1]) // 2))
    return mosaic


def _within_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    factor = side / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _within(image: Image.Image, side: int) -> Image.Image:
    return image.resize(_within_size(image.size, side), Image.Resampling.LANCZOS)
