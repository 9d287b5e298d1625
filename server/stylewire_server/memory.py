"""The C allocator, told to give memory back."""

import ctypes
import logging

log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Parameters of glibc's mallopt(3)."""

_THRESHOLD = 256 * 1024
"""Bytes from which a block is mapped on its own, and unmapped when it is freed."""

_ARENAS = 2


def keep_memory_flat() -> None:
    """Stops glibc from keeping holes of pictures of every size. Call it before the first thread; elsewhere it is idle.

    By default each thread has an arena of its own, and the size from which blocks are mapped grows with those that are
    freed, up to 32 MB; a server of pictures of many sizes then holds half again as much as it needs.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        log.debug("no mallopt here")
        return
    mallopt(_M_ARENA_MAX, _ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)
