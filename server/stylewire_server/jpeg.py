"""How much work a JPEG file is, beyond what its size in pixels says."""

import re

MAX_SCANS = 64
"""A progressive file of a camera or an editor has about ten. Each scan passes over the whole picture again, and one
that holds nothing takes 75 bytes of a file and milliseconds of a core."""

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""In entropy-coded data: FF and anything but a stuffed 0, a fill byte or a restart (ITU-T T.81, B.1.1)."""

_SCAN, _END = 0xDA, 0xD9
_SCAN_BYTES = b"\xff\xda"
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
"""Markers without a length: TEM, SOI, RST."""


def has_too_many_scans(data: bytes) -> bool:
    """Whether the first picture of a JPEG file has more than `MAX_SCANS` scans. Damaged files are the decoder's."""
    if data.count(_SCAN_BYTES) <= MAX_SCANS:
        # No walk for a file that cannot have them: it takes half as long as decoding.
        return False
    scans, place = 0, 0
    while found := _NEXT_MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            return True
        place += max(int.from_bytes(data[place : place + 2]), 2)
    return False
