"""How much work a JPEG file is, beyond what its size in pixels says."""

import re

MAX_SCANS = 64
"""A progressive file of a camera or an editor has about ten. Each scan passes over the whole picture again, and one
that holds nothing takes 75 bytes of a file and milliseconds of a core."""

_SCAN = re.compile(rb"\xff\xda\x00[\x06\x08\x0a\x0c\x0e][\x00-\x04]")
"""The head of a scan: SOS, its length 6 + 2n, the number n of its components (ITU-T T.81, B.2.3)."""


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG file has more than `MAX_SCANS` scans, those of further pictures in it included.

    Wherever they stand: damaged files can hide a scan from everybody who follows the lengths of their segments, and a
    decoder that looks for the next marker finds it.
    """
    return any(number > MAX_SCANS for number, _ in enumerate(_SCAN.finditer(data), 1))
