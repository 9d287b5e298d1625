"""Division of an axis of a picture into parts for tiles."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """A part of one axis, with its halo.

    Args:
        start: First position of the part.
        stop: Position after the last one of the part.
        first: First position of the part with its halo. The halo ends at the picture's edge.
        last: Position after the last one of the part with its halo.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def inner(self) -> tuple[int, int]:
        """Start and stop of the part, counted from the first position of the halo."""
        return self.start - self.first, self.stop - self.first


def spans(length: int, tile: int, halo: int, unit: int = 1) -> list[Span]:
    """Divide an axis into about equal parts of at most `tile` positions, with borders at multiples of `unit`."""
    count = -(-length // tile)
    borders = [index * (length // unit) // count * unit for index in range(count)] + [length]
    return [Span(one, two, max(one - halo, 0), min(two + halo, length)) for one, two in pairwise(borders)]
