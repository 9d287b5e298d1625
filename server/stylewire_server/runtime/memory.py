"""The C allocator and the garbage collector, told what a server is like."""

import ctypes
import gc
import logging

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3)."""

_MAPPED = 256 * 1024
"""Bytes from which a block is mapped on its own, and unmapped when it is freed. A larger number spares page faults (at
4 MiB a twentieth of the time of a 512x512 px picture), but pictures of ever new sizes leave holes that fit no other."""

_FREE = 64 * 1024**2
"""Bytes of free memory that an arena keeps at its end."""

_ARENAS = 2


def configure_malloc() -> None:
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
    mallopt(_M_MMAP_THRESHOLD, _MAPPED)
    mallopt(_M_TRIM_THRESHOLD, _FREE)


def freeze_gc() -> None:
    """Takes all that lives now out of later garbage collections. Call it when all that stays has been made.

    The modules alone are some 60,000 objects, and a collection that goes through them stops every call for 40 ms.
    """
    gc.collect()
    gc.freeze()
