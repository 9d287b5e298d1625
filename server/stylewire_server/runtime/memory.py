"""Settings of the C allocator and the garbage collector for a server."""

import ctypes
import gc
import logging

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3)."""

_MAPPED = 256 * 1024
"""Minimum bytes of a block that is mapped on its own and unmapped when it is freed. A larger number gives fewer page
faults: 4 MiB saves a twentieth of the time of a 512x512 px picture. But it lets the memory fragment when pictures of
many sizes are freed."""

_FREE = 64 * 1024**2
"""Maximum bytes of free memory that an arena keeps at its end."""

_ARENAS = 2
"""Maximum number of arenas."""


def configure_malloc() -> None:
    """Limit the fragmentation of memory in glibc. Call this before the first thread. Other C libraries are not changed.

    By default each thread has an arena of its own, and glibc raises the size from which blocks are mapped up to 32 MB.
    A server of pictures of many sizes then holds one and a half times the memory that it needs.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        log.debug("no mallopt here")
        return
    mallopt(_M_ARENA_MAX, _ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _MAPPED)
    mallopt(_M_TRIM_THRESHOLD, _FREE)


def freeze_gc() -> None:
    """Exclude all present objects from later garbage collections. Call this when the server has loaded everything.

    The modules alone have about 60,000 objects. A collection that visits them stops every call for 40 ms.
    """
    gc.collect()
    gc.freeze()
