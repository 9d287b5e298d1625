"""How much memory a run needs, and how much there is."""

from __future__ import annotations

from pathlib import Path

BASE_GIGABYTES = 1.1
"""TensorFlow, the kernels of VGG-19 and the compiled program, GB (10^9 bytes); a step at 256 px takes 0.95 GB."""

BYTES_PER_PIXEL = {"f32": 1900, "bf16": 1600}
"""What each pixel adds: about 1500 and 1240 bytes for features and gradients of a step of VGG-19 (from peaks at 256 and
1024 px on a CPU with bfloat16), the rest for the history of L-BFGS."""


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
