"""How long a job will take, by how long jobs of its kind took."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

SMOOTHING = 0.1
"""Share of the newest job in the running mean."""

HALF_LIFE = 10.0
"""Seconds without a new measurement after which an estimate counts half.

A refused job measures nothing: an estimate that stayed would refuse its kind for ever.
"""

KINDS = 256
"""Kinds that are remembered; the least recently measured is forgotten first."""


class ServiceTimes:
    """A running mean of seconds for every kind of job, so that large pictures say nothing of small ones.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._means: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def of(self, kind: Hashable) -> float:
        """Seconds that a job of this kind takes; 0 where none has been measured."""
        mean, measured = self._means.get(kind, (0.0, 0.0))
        return mean * 0.5 ** ((self._clock() - measured) / HALF_LIFE) if mean else 0.0

    def measured(self, kind: Hashable, seconds: float) -> None:
        """A job of this kind took so many seconds."""
        mean = self.of(kind)
        self._means[kind] = (mean + (seconds - mean) * (SMOOTHING if mean else 1.0), self._clock())
        self._means.move_to_end(kind)
        while len(self._means) > KINDS:
            self._means.popitem(last=False)
