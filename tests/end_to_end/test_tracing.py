"""Spans, sent to a real collector's socket."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from stylewire import Client
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import until

collector = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs the extra otel"
)


class Collector:
    """The receiving end of OTLP: keeps the spans that are sent to it."""

    def __init__(self) -> None:
        self.spans: list = []
        self.services: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            collector.ExportTraceServiceRequest.FromString,
            collector.ExportTraceServiceResponse.SerializeToString,
        )
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Export": handler})])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _export(self, request, context):
        for resource in request.resource_spans:
            self.services |= {
                pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return collector.ExportTraceServiceResponse()

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def spans() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


def test_a_call_is_a_span_with_its_stages_in_it_and_the_callers_trace_around_it(
    start_server, spans: Collector, photo: Path, style_picture: Path
) -> None:
    running = start_server(
        "--model",
        "lite",
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{spans.port}",
            "OTEL_SERVICE_NAME": "pictures",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        },
    )
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with grpc.insecure_channel(running.target) as channel:
        stylizer_pb2_grpc.StylizerStub(channel).Stylize(
            pb.StylizeRequest(
                content=pb.Image(encoded=photo.read_bytes()),
                styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
            ),
            metadata=[("traceparent", f"00-{trace}-{parent}-01"), ("x-request-id", "traced")],
            timeout=60,
        )
        with pytest.raises(grpc.RpcError):
            stylizer_pb2_grpc.StylizerStub(channel).Stylize(pb.StylizeRequest(), timeout=20)
    assert running.stop() == 0
    until(lambda: len(spans.spans) >= 7, "seven spans have come")
    assert spans.services == {"pictures"}
    calls = [span for span in spans.spans if span.name == "stylewire.v1.Stylizer/Stylize"]
    (good,) = [span for span in calls if span.trace_id.hex() == trace]
    (bad,) = [span for span in calls if span.trace_id.hex() != trace]
    assert good.parent_span_id.hex() == parent
    attributes = {pair.key: pair.value for pair in good.attributes}
    assert attributes["stylewire.request_id"].string_value == "traced"
    assert attributes["rpc.grpc.status_code"].int_value == 0
    stages = [span for span in spans.spans if span.parent_span_id == good.span_id]
    assert {span.name for span in stages} == {"queue", "decode", "predict", "transform", "encode"}
    slack = 2_000_000  # nanoseconds: two clocks are read one after the other
    for span in stages:
        assert good.start_time_unix_nano - slack <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= good.end_time_unix_nano + slack
    assert bad.status.code == 2


def test_a_collector_that_is_silent_does_not_hold_the_end_up(start_server, photo: Path, style_picture: Path) -> None:
    """The collector accepts connections and never answers. OpenTelemetry alone would wait for its export timeout."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        collector_of = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "300",
        }
        running = start_server("--model", "lite", env=collector_of)
        with Client(running.target, timeout=60) as client:
            client.stylize(photo, style_picture)
        assert running.stop(timeout=30) == 0
