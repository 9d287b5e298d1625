"""Start, ready, drain, stop: as a supervisor sees it."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

_EAGER = [(f"grpc.{kind}_reconnect_backoff_ms", 50) for kind in ("initial", "min", "max")]

SERVICE = "stylewire.v1.Stylizer"


def health(channel: grpc.Channel, service: str = "") -> int:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def request(photo: Path, style: Path) -> pb.StylizeRequest:
    return pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style.read_bytes()))],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE),
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_with_code_zero(start_server, number: int) -> None:
    running = start_server("--model", "lite")
    with grpc.insecure_channel(running.target) as channel:
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
    assert running.stop(number) == 0
    assert "Traceback" not in "\n".join(running.log)


def test_draining_finishes_calls_in_flight_and_refuses_new_ones(
    start_server, calls_begun, photo: Path, style_picture: Path
) -> None:
    running = start_server("--model", "lite", "--streams", "1", "--metrics-port", "0")
    metrics = next(line.split()[-1] for line in running.log if "metrics on http" in line)
    message = request(photo, style_picture)
    no_retries = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(running.target, no_retries) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        stub.Stylize(message, timeout=60)
        statuses: list[int] = []

        def watch() -> None:
            try:
                for answer in health_pb2_grpc.HealthStub(channel).Watch(
                    health_pb2.HealthCheckRequest(service=SERVICE), timeout=60
                ):
                    statuses.append(answer.status)
            except grpc.RpcError:
                pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        calls = [stub.Stylize.future(message, timeout=60) for _ in range(40)]
        while calls_begun(metrics) < 1 + len(calls):
            time.sleep(0.005)
        running.process.send_signal(signal.SIGTERM)
        late = []
        while running.process.poll() is None:
            try:
                stub.Stylize(message, timeout=60)
                late.append(None)
            except grpc.RpcError as error:
                late.append(error.code())
            time.sleep(0.01)
        assert [call.exception() for call in calls if call.exception() is not None] == []
        assert grpc.StatusCode.UNAVAILABLE in late
        assert set(late) <= {None, grpc.StatusCode.UNAVAILABLE}
        watcher.join(30)
        assert statuses[0] == health_pb2.HealthCheckResponse.SERVING
        assert health_pb2.HealthCheckResponse.NOT_SERVING in statuses
    assert running.stop() == 0


def test_not_serving_until_the_engine_has_run(photo: Path, style_picture: Path) -> None:
    """From the first moment that the port answers until the banner, health says NOT_SERVING and calls are refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "stylewire_server", "serve", "--model", "lite", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", _EAGER) as channel:
            first = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=60, wait_for_ready=True
            )
            assert first.status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError) as caught:
                stylizer_pb2_grpc.StylizerStub(channel).Stylize(request(photo, style_picture), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"serving on 127.0.0.1:{port} ")
            assert health(channel, SERVICE) == health_pb2.HealthCheckResponse.SERVING
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_taken_port_is_one_clear_line(server) -> None:
    command = [sys.executable, "-m", "stylewire_server", "serve", "--model", "lite", "--port", str(server.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert f"cannot bind 127.0.0.1:{server.port}: the port is taken" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_caller_that_hangs_up_does_no_harm(server, photo: Path, style_picture: Path) -> None:
    message = request(photo, style_picture)
    with grpc.insecure_channel(server.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        calls = [stub.Stylize.future(message, timeout=60) for _ in range(20)]
        for call in calls[1::2]:
            call.cancel()
        assert all(call.result().width == 512 for call in calls[::2])
        assert stub.Stylize(message, timeout=60).width == 512
