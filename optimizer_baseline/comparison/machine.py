"""Description of the machine and packages behind a figure, and peak memory. The benchmarks use this module too."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("stylewire", "tensorflow", "scipy", "numpy", "pillow", "openvino", "grpcio")
SIMD_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""Instruction sets that decide how fast a network runs."""

PROC = Path("/proc")


def describe() -> dict[str, Any]:
    """Return processor, instruction sets, cores for this process, memory in GB (10^9 bytes) and operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = _number(PROC / "meminfo", "MemTotal")
    flags = _text(PROC / "cpuinfo", "flags").split()
    return {
        "processor": _text(PROC / "cpuinfo", "model name") or platform.processor() or platform.machine(),
        "simd": [flag for flag in SIMD_FLAGS if flag in flags],
        "cores": cores,
        "memory_gb": None if memory is None else round(memory * 1024 / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_megabytes(pid: int | None = None) -> float | None:
    """Return the largest resident memory of a process since it began or since `reset_peak`, in MB (10^6 bytes).

    Args:
        pid: The process; None for this one.

    Returns:
        None on systems without Linux' /proc.
    """
    kilobytes = _number(PROC / ("self" if pid is None else str(pid)) / "status", "VmHWM")
    return None if kilobytes is None else round(kilobytes * 1024 / 1e6, 1)


def reset_peak(pid: int | None = None) -> None:
    """Reset the peak of `peak_megabytes`. Does nothing if the system does not allow it."""
    try:
        (PROC / ("self" if pid is None else str(pid)) / "clear_refs").write_text("5")
    except OSError:
        return


def _text(path: Path, name: str) -> str:
    """Return the value of `name:` in a file of /proc; "" if it is missing."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def _number(path: Path, name: str) -> int | None:
    words = _text(path, name).split()
    return int(words[0]) if words and words[0].isdecimal() else None
