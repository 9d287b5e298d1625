"""OpenTelemetry traces: a span for every call, with a child span for every stage.

The exporter, its address and the service's name come from OpenTelemetry's own environment variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, …).
"""

import os
import time
from threading import Thread
from typing import Any

import grpc

from .calls import Call, Watcher

_CLOSE_SECONDS = 2.0
"""Time limit for sending the remaining spans at the end."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class TracingError(Exception):
    """Traces are asked for and cannot be made."""


def wanted() -> bool:
    """Return True if the environment names an address for spans."""
    return any(os.environ.get(name) for name in _ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED") != "true"


class Tracing(Watcher):
    """Sends spans by OTLP.

    Raises:
        TracingError: The extra `otel` is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import propagate, trace
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise TracingError(f"{error}; traces need the extra `otel`: pip install 'stylewire[otel]'") from None
        resource = Resource.create({"service.name": "stylewire"}).merge(OTELResourceDetector().detect())
        # The provider's own shutdown at exit would wait without a limit for a collector that does not answer.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("stylewire_server")
        self._trace = trace
        self._extract = propagate.extract
        self._open: dict[int, Any] = {}

    def began(self, call: Call) -> None:
        """Start the span of the call."""
        carrier = {name: value for name, value in call.metadata if isinstance(value, str)}
        service, _, method = call.method.strip("/").rpartition("/")
        self._open[id(call)] = self._tracer.start_span(
            f"{service}/{method}",
            context=self._extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "stylewire.request_id": call.request_id,
            },
            start_time=_wall(call.started),
        )

    def passed(self, call: Call, stage: str, start: float, end: float) -> None:
        """Add a span for the stage."""
        parent = self._open.get(id(call))
        if parent is not None:
            context = self._trace.set_span_in_context(parent)
            self._tracer.start_span(stage, context=context, start_time=_wall(start)).end(_wall(end))

    def ended(self, call: Call) -> None:
        """End the span of the call with its status."""
        span = self._open.pop(id(call))
        assert call.code is not None
        span.set_attribute("rpc.grpc.status_code", call.code.value[0])
        if call.code is not grpc.StatusCode.OK:
            span.set_status(self._trace.StatusCode.ERROR, call.code.name)
        span.end(_wall(call.started + call.seconds))

    def close(self) -> None:
        """Send the remaining spans, for at most two seconds."""
        sending = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(_CLOSE_SECONDS)


def _wall(seconds: float) -> int:
    """Return a time on the clock of `time.perf_counter` as nanoseconds since 1970."""
    return time.time_ns() - int((time.perf_counter() - seconds) * 1e9)
