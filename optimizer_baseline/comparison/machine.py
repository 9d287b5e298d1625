"""What a figure was measured on and with, and how much memory it took."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("stylewire", "tensorflow", "scipy", "numpy", "pillow", "openvino", "grpcio")
PROC = Path("/proc")


def describe() -> dict[str, Any]:
    """Processor, cores that this process may use, memory in GB, operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = _field(PROC / "meminfo", "MemTotal")
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gb": None if memory is None else round(memory * 1024 / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Python's and those of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_megabytes(pid: int | None = None) -> float | None:
    """Largest resident memory of a process (this one for None) since it began or since `reset_peak`, in MB (10^6).

    None where the system does not say: it is read from Linux' /proc.
    """
    kilobytes = _field(PROC / ("self" if pid is None else str(pid)) / "status", "VmHWM")
    return None if kilobytes is None else round(kilobytes * 1024 / 1e6, 1)


def reset_peak(pid: int | None = None) -> None:
    """Begins a new `peak_megabytes`; does nothing where the system does not let it."""
    try:
        (PROC / ("self" if pid is None else str(pid)) / "clear_refs").write_text("5")
    except OSError:
        return


def _field(path: Path, name: str) -> int | None:
    try:
        for line in path.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _processor() -> str:
    try:
        for line in (PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
