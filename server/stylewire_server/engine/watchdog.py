"""A wrapper of an engine that measures its computing time and detects a crash."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from ..errors import EngineFailed
from .base import Checkpoint, Engine

log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The job of the engine is no longer needed; the cause of this error says why."""


class WatchedEngine:
    """An engine that reports when it has crashed.

    An engine gets only checked arrays, so an error of the engine is a fault. But the fault may concern one picture
    only, and no caller must be able to end the server with a picture. So after a fault the engine computes the picture
    that it was started with. If that works, the error goes to the call. If it fails, the engine has crashed: the call
    gets `EngineFailed`, and `crashed` is called once.

    Args:
        engine: The engine to watch.
        trial: Makes the engine compute a picture that it has computed before; raises an error if that fails.
        crashed: Called when the engine has crashed, in the thread of the call.

    Attributes:
        busy_seconds: Computing time of all calls together.
    """

    def __init__(self, engine: Engine, trial: Callable[[Engine], object], crashed: Callable[[], None]) -> None:
        self._engine = engine
        self._trial = trial
        self._crashed = crashed
        self._lock = threading.Lock()
        self._dead = False
        self.name = engine.name
        self.precision = engine.precision
        self.style_dimension = engine.style_dimension
        self.norm_parameters = engine.norm_parameters
        self.one_pass_pixels = engine.one_pass_pixels
        self.max_pixels = engine.max_pixels
        self.busy_seconds = 0.0

    def predict(self, style: np.ndarray) -> np.ndarray:
        """Predict as `Engine.predict` says.

        Raises:
            EngineFailed: The engine has crashed.
        """
        return self._watch(self._engine.predict, style)

    def transform(self, content: np.ndarray, vector: np.ndarray, checkpoint: Checkpoint = lambda: None) -> np.ndarray:
        """Transform as `Engine.transform` says.

        Raises:
            EngineFailed: The engine has crashed.
        """

        def check() -> None:
            try:
                checkpoint()
            except Exception as stop:
                raise _Stopped from stop

        return self._watch(partial(self._engine.transform, checkpoint=check), content, vector)

    def _watch(self, compute: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        try:
            return compute(*arrays)
        except _Stopped as stopped:
            # The job was stopped on request, so the engine has no fault.
            assert stopped.__cause__ is not None
            raise stopped.__cause__ from None
        except Exception as fault:
            if self._still_works():
                raise
            raise EngineFailed("the engine has failed; try another server") from fault
        finally:
            with self._lock:
                self.busy_seconds += time.perf_counter() - start

    def _still_works(self) -> bool:
        try:
            self._trial(self._engine)
        except Exception:
            with self._lock:
                first, self._dead = not self._dead, True
            if first:
                log.critical("the engine fails on a picture that it has computed before", exc_info=True)
                self._crashed()
            return False
        return True
