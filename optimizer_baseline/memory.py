"""Estimates of the memory that a run needs, and of the memory that is available."""

from __future__ import annotations

from pathlib import Path

from .objective.style_losses import STYLE_LOSSES

BASE_GIGABYTES = 0.9
"""Memory of TensorFlow, the kernels of VGG-19 and the compiled program in GB (10^9 bytes)."""

BYTES_PER_PIXEL = {"f32": 2200, "bf16": 1600}
"""Bytes that each pixel adds: about 1770 in float32 and 1240 in bfloat16 for features and gradients of a step of VGG-19
(from peaks at 256 and 1024 px), the rest for the history of L-BFGS."""

WHOLE_BYTES_PER_PIXEL = 600
"""Bytes that each pixel of the whole picture adds beside its tiles: 430 for the history of L-BFGS, the rest for the
features of the content and the total variation."""

HALO = 96
"""Maximum width in pixels of a tile's halo."""


def needed_gigabytes(pixels: int, bfloat16: bool, style_loss: str = "gram", tile: int | None = None) -> float:
    """Return an estimate of the memory of a run in GB (10^9 bytes).

    Args:
        pixels: Number of pixels of the picture.
        bfloat16: Precision of the convolutions.
        style_loss: The preset's.
        tile: Side of the tiles in pixels; None for the whole picture at once.
    """
    per_pixel = BYTES_PER_PIXEL["bf16" if bfloat16 else "f32"] * STYLE_LOSSES[style_loss].memory_factor
    at_once = pixels if tile is None else min(pixels, (tile + 2 * HALO) ** 2)
    whole = 0 if at_once == pixels else pixels * WHOLE_BYTES_PER_PIXEL
    return BASE_GIGABYTES + (at_once * per_pixel + whole) / 1e9


def available_gigabytes() -> float | None:
    """Return the memory that is available without swapping, in GB (10^9 bytes); None if it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else int(kilobytes) * 1024 / 1e9
