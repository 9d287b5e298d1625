"""The number format of the convolutions. Costs and Gram matrices are always float32."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from ..errors import InvalidOption

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "f32", "bf16")
NATIVE_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@cache
def native_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return True if this processor multiplies bfloat16 natively; False if that is unknown."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    return any(NATIVE_BF16_FLAGS & set(line.split()) for line in text.splitlines() if line.startswith("flags"))


def resolve(precision: str) -> str:
    """Return "f32" or "bf16" for "auto", "f32" or "bf16"."""
    if precision not in PRECISIONS:
        raise InvalidOption(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if native_bfloat16() else "f32"
    if precision == "bf16" and not native_bfloat16():
        log.warning("this processor has no bfloat16 arithmetic; bf16 will be slower than f32")
    return precision
