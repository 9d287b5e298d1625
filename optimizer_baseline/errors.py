"""The errors of this package, as one tree under `BaselineError`."""


class BaselineError(Exception):
    """The base of all errors that this package raises on purpose."""


class InvalidImage(BaselineError, ValueError):
    """A picture or mask that cannot be read, or that is too small or too large."""


class InvalidOption(BaselineError, ValueError):
    """An option outside its range, or options that contradict one another."""


class WeightsError(BaselineError):
    """VGG weights that are missing, damaged or of another network."""


class Diverged(BaselineError):
    """The cost became NaN, infinite or far larger than where it started."""


class NotBetter(BaselineError):
    """The cost on photographs that were kept apart did not fall, so there is no tuned style to keep."""


class StopRun(Exception):
    """Raised by a progress callback to end a run early; the best picture so far is returned."""
