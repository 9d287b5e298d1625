"""The settings of the engine and of pictures, with their defaults.

They are apart from the server's other settings because `stylewire --local` needs no more than these, and pydantic
takes long to load.
"""

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import platformdirs

from .engine.memory import DEFAULT_BUDGET
from .imaging.limits import ImageLimits

MIN_PICTURE_MEMORY = 64 * 2**20
"""Minimum bytes of `--picture-memory`: two pictures of 256x256 px at one time, of 27 MB each in the full edition."""

_ANSWER_BYTES = 4096
"""Maximum bytes of an answer without its picture."""

NO_MESSAGE_BYTES = 2**31 - 1
"""Value of `max_message_bytes` for pictures that are not sent in messages."""

EngineName: TypeAlias = Literal["openvino", "tensorflow"]
Precision: TypeAlias = Literal["auto", "f32", "bf16", "int8"]

_CACHE = platformdirs.user_cache_path("stylewire")
_DATA = platformdirs.user_data_dir("stylewire", appauthor=False)


@dataclass(kw_only=True)
class EngineSettings:
    """The settings of the engine and of pictures. `ServeSettings` describes and checks each of them."""

    cache: Path = _CACHE
    model: str = "auto"
    engine: EngineName = "openvino"
    precision: Precision = "auto"
    threads: int = 0
    streams: int = 0
    queue_size: int = 64
    picture_memory: int = 0
    max_pixels: int = 0
    max_decode_pixels: int = ImageLimits.max_decode_pixels
    max_decode_bytes: int = ImageLimits.max_decode_bytes
    max_encoded_bytes: int = ImageLimits.max_encoded_bytes
    max_message_bytes: int = 40 * 2**20
    max_styles: int = 16
    cache_bytes: int = 16 * 2**20
    data_dir: str = _DATA
    styles: Path | None = None
    no_gallery: bool = False
    max_streams: int = 16

    def image_limits(self, most_pixels: int) -> ImageLimits:
        """Return the limits on pictures for an engine that takes up to `most_pixels` pixels."""
        return ImageLimits(
            max_pixels=min(self.max_pixels or most_pixels, most_pixels),
            max_decode_pixels=self.max_decode_pixels,
            max_decode_bytes=self.max_decode_bytes,
            max_encoded_bytes=self.max_encoded_bytes,
            max_result_bytes=self.max_message_bytes - _ANSWER_BYTES,
            max_held_bytes=self.effective_picture_memory // 2,
        )

    @property
    def effective_streams(self) -> int:
        """Return the number of streams; if `streams` is 0, one for each core that computes, up to 4."""
        return self.streams or min(self.threads or allowed_cores(), 4)

    @property
    def effective_threads(self) -> int:
        """Return the number of threads.

        If `threads` is 0, these are the cores that the control group allows; 0 if the group does not limit the cores.
        """
        allowed = allowed_cores()
        return self.threads or (allowed if allowed < _cores() else 0)

    @property
    def effective_picture_memory(self) -> int:
        """Return the bytes of `picture_memory`.

        If it is 0, this is the process's share of half of the allowed memory, up to 1.75 GB.
        """
        share = allowed_memory() // 2 // self.effective_processes
        return self.picture_memory or max(MIN_PICTURE_MEMORY, min(DEFAULT_BUDGET, share))

    @property
    def effective_processes(self) -> int:
        """Return the number of processes."""
        return 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def _group_value(name: str) -> list[str]:
    """Return the words in a file of the process's control group (version 2).

    Raises:
        OSError: There is no such file: another system, or version 1.
    """
    own = _GROUP.read_text().rpartition("::")[2].strip().lstrip("/")
    return (_GROUPS / own / name).read_text().split()


def _group_memory_v1() -> list[int]:
    """Return the memory limits in bytes of the process's control group in version 1; none on other systems.

    A container sees its own group at the top, but `/proc/self/cgroup` names the path on the host.
    """
    found = re.search(r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:/*(.*)$", _read(_GROUP), re.MULTILINE)
    folders = [_GROUPS / "memory" / found[1], _GROUPS / "memory"] if found else []
    texts = [_read(folder / "memory.limit_in_bytes").strip() for folder in folders]
    return [int(text) for text in texts if text.isdigit()]


def _read(path: Path) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def allowed_memory() -> int:
    """Return the smallest memory limit in bytes: of the machine, the control group or the process (RLIMIT_AS)."""
    limits = [sys.maxsize]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):
        # There is no such control group, or its limit is "max".
        limits.append(int(_group_value("memory.max")[0]))
    limits += _group_memory_v1()
    with suppress(ImportError):
        import resource

        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    return min(limit for limit in limits if limit > 0)


def allowed_cores() -> int:
    """Return the number of cores within the CPU quota of the process's control group (version 2), at least 1."""
    try:
        quota, period = map(int, _group_value("cpu.max"))
    except (OSError, ValueError):
        # Another system, an older version, or "max": no quota.
        return _cores()
    return max(1, min(_cores(), quota // period))
