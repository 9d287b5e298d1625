"""Metrics for Prometheus, over HTTP.

The metrics of calls and stages are here. The gauges and counters that are read at each scrape are registered in
`runtime/service.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from stylewire.v1 import stylizer_pb2 as pb

from .calls import Call, Watcher

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds in seconds: from one stage of a small picture to a large picture behind a full queue."""


class MetricsError(Exception):
    """The port of the metrics cannot be bound."""


class Metrics(Watcher):
    """Prometheus metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "stylewire_requests",
            "Calls that have ended, by method and status.",
            ["method", "code"],
            registry=self.registry,
        )
        self._in_flight = Gauge("stylewire_requests_in_flight", "Calls that are open.", registry=self.registry)
        self._seconds = Histogram(
            "stylewire_request_seconds",
            "Duration of a call, from its headers to its status.",
            ["method"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "stylewire_stage_seconds",
            "Duration of one stage of a picture: queue, decode, predict, transform, encode.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._model = Info("stylewire_model", "The model that is served.", registry=self.registry)
        self._readings = _Readings()
        self.registry.register(self._readings)

    def show_model(self, model: pb.Model) -> None:
        """Publish the model that is served."""
        self._model.info(
            {
                "edition": model.edition,
                "engine": model.engine,
                "precision": model.precision,
                "version": model.version,
                "weights_sha256": model.weights_sha256,
            }
        )

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Publish a gauge whose value is read at each scrape."""
        self._readings.metrics.append(lambda: GaugeMetricFamily(name, description, read()))

    def counter(
        self, name: str, description: str, read: Callable[[], Mapping[str, float]], label: str | None = None
    ) -> None:
        """Publish a counter whose values are read at each scrape.

        Args:
            name: Its name, without `_total`.
            description: One sentence.
            read: Returns the count for each value of `label`; without a label, one count under any key.
            label: Name of the only label; None for no label.
        """

        def collect() -> Metric:
            family = CounterMetricFamily(name, description, labels=[label] if label else [])
            for value, count in read().items():
                family.add_metric([value] if label else [], count)
            return family

        self._readings.metrics.append(collect)

    def began(self, call: Call) -> None:
        """Count the call as in flight."""
        self._in_flight.inc()

    def passed(self, call: Call, stage: str, start: float, end: float) -> None:
        """Add the stage's duration."""
        self._stages.labels(stage).observe(end - start)

    def ended(self, call: Call) -> None:
        """Count the call and its duration."""
        self._in_flight.dec()
        assert call.code is not None
        self._requests.labels(call.method, call.code.name).inc()
        self._seconds.labels(call.method).observe(call.seconds)

    def listen(self, host: str, port: int, prepare: Callable[[WSGIServer], None]) -> "Listener":
        """Answer GET /metrics at an address, in separate threads.

        Args:
            host, port: The address; port 0 picks a free one.
            prepare: Called with the HTTP server, to change how it treats slow and broken requests.

        Raises:
            MetricsError: The address cannot be bound.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise MetricsError(f"cannot bind {host}:{port} for the metrics: {error.strerror}") from None
        prepare(server)
        return Listener(server, thread)


class Listener:
    """An HTTP server and its thread."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port = server.server_port

    def close(self) -> None:
        """Stop answering, and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Readings(Collector):
    """Metrics that are read when Prometheus asks for them."""

    def __init__(self) -> None:
        self.metrics: list[Callable[[], Metric]] = []

    def collect(self) -> Iterator[Metric]:
        yield from (make() for make in self.metrics)
