"""Metrics for Prometheus, over HTTP."""

import logging
from collections.abc import Iterator
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from stylewire.v1 import stylizer_pb2 as pb

from .engine.watched import WatchedEngine
from .rpc.call import Call, Watcher
from .scheduler import Scheduler
from .styles import StyleCache

log = logging.getLogger(__name__)

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds in seconds: from a stage of a small picture to a large one behind a full queue."""


_REQUEST_SECONDS = 10.0
"""In which a request has to come; each one that is awaited holds a thread."""


class MetricsError(Exception):
    """The port of the metrics cannot be bound."""


class Metrics(Watcher):
    """What is counted, in a registry of its own.

    Args:
        scheduler: Whose queue is shown.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "stylewire_requests", "Calls that have ended.", ["method", "code"], registry=self.registry
        )
        self._in_flight = Gauge("stylewire_requests_in_flight", "Calls that are open.", registry=self.registry)
        self._seconds = Histogram(
            "stylewire_request_seconds",
            "From a call's head to its status.",
            ["method"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "stylewire_stage_seconds",
            "Spent in one stage of a picture: queue, decode, predict, transform, encode.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._model = Info("stylewire_model", "What is served.", registry=self.registry)
        self._state = _State(scheduler)
        self.registry.register(self._state)

    def serving(self, model: pb.Model, cache: StyleCache, engine: WatchedEngine) -> None:
        """From now on these are shown."""
        self._model.info(
            {
                "edition": model.edition,
                "engine": model.engine,
                "precision": model.precision,
                "version": model.version,
                "weights_sha256": model.weights_sha256,
            }
        )
        self._state.cache, self._state.engine = cache, engine

    def began(self, call: Call) -> None:
        """See `Watcher`."""
        self._in_flight.inc()

    def passed(self, call: Call, stage: str, start: float, end: float) -> None:
        """See `Watcher`."""
        self._stages.labels(stage).observe(end - start)

    def ended(self, call: Call) -> None:
        """See `Watcher`."""
        self._in_flight.dec()
        assert call.code is not None
        self._requests.labels(call.method, call.code.name).inc()
        self._seconds.labels(call.method).observe(call.seconds)

    def listen(self, host: str, port: int) -> "Listener":
        """Answers GET /metrics there, from threads of its own.

        Raises:
            MetricsError: The address cannot be bound.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise MetricsError(f"cannot bind {host}:{port} for the metrics: {error.strerror}") from None
        server.RequestHandlerClass.timeout = _REQUEST_SECONDS
        # Its own way is a trace on stderr, whatever the log's format.
        server.handle_error = _note
        return Listener(server, thread)


def _note(request: Any, address: Any) -> None:
    log.info("a request for metrics was given up", exc_info=log.isEnabledFor(logging.DEBUG))


class Listener:
    """An HTTP server and its thread."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port = server.server_port

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _State(Collector):
    """What is read when it is asked for."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.cache: StyleCache | None = None
        self.engine: WatchedEngine | None = None

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("stylewire_queue_depth", "Calls that wait.", self._scheduler.waiting)
        yield GaugeMetricFamily("stylewire_jobs_running", "Calls that are being worked on.", self._scheduler.running)
        if self.cache is not None:
            lookups = CounterMetricFamily(
                "stylewire_style_cache_lookups", "Of style vectors by picture.", labels=["result"]
            )
            lookups.add_metric(["hit"], self.cache.hits)
            lookups.add_metric(["miss"], self.cache.misses)
            yield lookups
        if self.engine is not None:
            yield CounterMetricFamily(
                "stylewire_engine_busy_seconds", "That the engine computed, streams added up.", self.engine.busy_seconds
            )
