"""How much memory a run needs, and how much there is."""

from __future__ import annotations

from pathlib import Path

BASE_GIGABYTES = 1.3
"""TensorFlow, the kernels of VGG-19 and the compiled program, GB (10^9 bytes)."""

BYTES_PER_PIXEL = {"f32": 2400, "bf16": 1500}
"""What each pixel adds: features and gradients of one step, the optimizer's history, the style's features."""


def needed_gigabytes(pixels: int, bfloat16: bool) -> float:
    """Return about how much memory a run takes for a picture of `pixels` pixels, in GB (10^9 bytes)."""
    return BASE_GIGABYTES + pixels * BYTES_PER_PIXEL["bf16" if bfloat16 else "f32"] / 1e9


def available_gigabytes() -> float | None:
    """Return the memory that can be had without swapping, in GB (10^9 bytes); None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else int(kilobytes) * 1024 / 1e9
