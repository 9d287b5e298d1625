"""The port of the metrics."""

import socket

import pytest
from stylewire_server.rpc import grpc_workarounds
from stylewire_server.rpc.grpc_workarounds import harden_metrics_server
from stylewire_server.scheduler import Scheduler
from stylewire_server.telemetry.metrics import Metrics


def test_a_request_that_does_not_come_holds_no_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grpc_workarounds, "_METRICS_SECONDS", 0.2)
    scheduler = Scheduler(1, 1)
    listener = Metrics().listen("127.0.0.1", 0, harden_metrics_server)
    try:
        for begun in (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection(("127.0.0.1", listener.port), 10) as connection:
                connection.sendall(begun)
                connection.settimeout(20)
                assert connection.recv(100) == b""
    finally:
        listener.close()
        scheduler.close()
    assert capfd.readouterr().err == ""
