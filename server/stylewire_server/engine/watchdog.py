"""Watches an engine: how busy it is, and whether it still works."""

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
    """The job that the engine computes for is no longer wanted; the cause says why."""


class WatchedEngine:
    """An engine that tells when it has crashed.

    Engines get arrays that have been checked, so an engine that raises has a fault. One picture may have brought it
    about, and a server that ends for one picture can be ended by anybody: so after a fault the engine is tried with the
    picture that it started with. If that works, the fault was the call's, and is raised as it is. If not, the engine
    has crashed: the call gets `EngineFailed`, and `crashed` is called, once.

    Args:
        engine: What computes.
        trial: Makes the engine compute something that it has computed before; raises if it cannot.
        crashed: Is called from the thread of the call.

    Attributes:
        busy_seconds: Spent computing, by all calls together.
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
            # The engine did what it was asked to: there is no fault to look for.
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
