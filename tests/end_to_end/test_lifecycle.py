"""Start, readiness, drain and stop of a server, as a supervisor sees them."""

import contextlib
import io
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import until

_EAGER = [(f"grpc.{kind}_reconnect_backoff_ms", 50) for kind in ("initial", "min", "max")]

SERVICE = "stylewire.v1.Stylizer"


def health(channel: grpc.Channel, service: str = "") -> int:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=240).status


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
    running = start_server("--model", "lite", "--streams", "1", "--metrics-port", "0", "--grace", "240")
    metrics = next(line.split()[-1] for line in running.log if "metrics on http" in line)
    message = request(photo, style_picture)
    no_retries = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(running.target, no_retries) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        stub.Stylize(message, timeout=240)
        statuses: list[int] = []

        def watch() -> None:
            try:
                for answer in health_pb2_grpc.HealthStub(channel).Watch(
                    health_pb2.HealthCheckRequest(service=SERVICE), timeout=240
                ):
                    statuses.append(answer.status)
            except grpc.RpcError:
                pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        calls = [stub.Stylize.future(message, timeout=240) for _ in range(40)]
        until(lambda: calls_begun(metrics) > len(calls), "every call has begun")
        running.process.send_signal(signal.SIGTERM)
        late = []
        while running.process.poll() is None:
            try:
                stub.Stylize(message, timeout=240)
                late.append(None)
            except grpc.RpcError as error:
                late.append(error.code())
            time.sleep(0.01)
        assert [call.exception() for call in calls if call.exception() is not None] == []
        assert grpc.StatusCode.UNAVAILABLE in late
        # gRPC itself cancels what comes in at the moment of closing.
        assert set(late) <= {None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        watcher.join(30)
        assert statuses[0] == health_pb2.HealthCheckResponse.SERVING
        assert health_pb2.HealthCheckResponse.NOT_SERVING in statuses
    assert running.stop() == 0


def begin(errors: int) -> tuple[subprocess.Popen, int]:
    """Start a server without waiting for it. Return the process and its port; `errors` is the target of stderr."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "stylewire_server", "serve", "--model", "lite", "--port", str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True), port


def test_not_serving_until_the_engine_has_run(photo: Path, style_picture: Path) -> None:
    """Health says NOT_SERVING and calls are refused, from the first answer of the port until the banner."""
    process, port = begin(subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", _EAGER) as channel:
            first = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=240, wait_for_ready=True
            )
            assert first.status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError) as caught:
                stylizer_pb2_grpc.StylizerStub(channel).Stylize(request(photo, style_picture), timeout=240)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"serving on 127.0.0.1:{port} ")
            assert health(channel, SERVICE) == health_pb2.HealthCheckResponse.SERVING
    finally:
        process.terminate()
        assert process.wait(60) == 0


def await_caught(process: subprocess.Popen, number: int) -> None:
    """Wait until the process has its own handler for that signal."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("without /proc nobody knows when a process catches signals")
    while True:
        assert process.poll() is None
        (mask,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt:")]
        if int(mask, 16) >> (number - 1) & 1:
            return
        time.sleep(0.001)


def await_port(process: subprocess.Popen, port: int) -> None:
    """Wait until the server listens at that port, long before the model is loaded."""
    while True:
        assert process.poll() is None
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
            return
        time.sleep(0.005)


@pytest.fixture(params=["signals are caught", "the port listens"])
def starting(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen]:
    """A server at a chosen moment of its start."""
    process, port = begin(subprocess.PIPE)
    try:
        if request.param == "the port listens":
            await_port(process, port)
        else:
            await_caught(process, signal.SIGTERM)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_sigterm_while_it_starts_ends_it_with_code_zero_before_it_serves(starting: subprocess.Popen) -> None:
    starting.terminate()
    out, errors = starting.communicate(timeout=240)
    assert starting.returncode == 0
    assert out == ""
    assert "Traceback" not in errors


def test_sighup_while_it_starts_does_not_end_it(starting: subprocess.Popen) -> None:
    starting.send_signal(signal.SIGHUP)
    assert starting.stdout is not None
    assert starting.stdout.readline().startswith("serving on ")
    starting.terminate()
    starting.communicate(timeout=240)
    assert starting.returncode == 0


def test_an_ipv6_address_is_printed_as_clients_write_it(start_server) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    running = start_server("--model", "lite", "--host", "::1")
    try:
        assert running.banner.startswith(f"serving on [::1]:{running.port} ")
        with grpc.insecure_channel(running.target) as channel:
            assert health(channel) == health_pb2.HealthCheckResponse.SERVING
    finally:
        assert running.stop() == 0


def flat(side: int) -> bytes:
    """Return a picture of almost no bytes."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), (20, 120, 220)).save(out, "PNG")
    return out.getvalue()


class SlowReader:
    """A relay to the server that passes answers on at a given number of bytes per second.

    Attributes:
        port: The port of the relay.
        passed: Bytes of answers so far.
    """

    def __init__(self, port: int, bytes_per_second: float) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = port
        self._rate = bytes_per_second
        self.port = self._listener.getsockname()[1]
        self.passed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                # What the systems hold of an answer is not in the server's hands any more.
                near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
                far.connect(("127.0.0.1", self._server))
                threading.Thread(target=self._up, args=(near, far), daemon=True).start()
                threading.Thread(target=self._down, args=(far, near), daemon=True).start()

    @staticmethod
    def _up(near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65_536):
                far.sendall(data)

    def _down(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(16_384):
                near.sendall(data)
                self.passed += len(data)
                time.sleep(len(data) / self._rate)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Accept no further connections."""
        self._listener.close()


def test_an_answer_that_is_read_slowly_is_sent_whole_before_it_ends(start_server, style_picture: Path) -> None:
    running = start_server("--model", "lite")
    reader = SlowReader(running.port, 4e6)
    message = pb.StylizeRequest(
        content=pb.Image(encoded=flat(1536)),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE, encoding=pb.ENCODING_RAW_PIXELS),
    )
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{reader.port}", options) as channel:
        call = stylizer_pb2_grpc.StylizerStub(channel).Stylize.future(message, timeout=240)
        while reader.passed < 300_000:
            assert not call.done()
            time.sleep(0.005)
        running.process.send_signal(signal.SIGTERM)
        assert len(call.result().image.pixels.rgb) == 1536 * 1536 * 3
    reader.close()
    assert running.stop() == 0
    assert not any("did not finish" in line for line in running.log)


def children_seconds() -> float:
    """Return the CPU seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_job_that_outlasts_the_grace_does_not_hold_the_process(start_server, style_picture: Path) -> None:
    """The job is a picture of nine megapixels on one thread, which cannot be interrupted while it computes.

    What the server takes after the signal is compared, in CPU seconds, with what the same job took before.
    """
    running = start_server(
        *("--model", "lite", "--max-pixels", "50000000", "--threads", "1", "--streams", "1", "--grace", "0.5")
    )
    message = pb.StylizeRequest(
        content=pb.Image(encoded=flat(3000)),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE, encoding=pb.ENCODING_JPEG),
    )
    no_limits = [("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(running.target, no_limits) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        process = psutil.Process(running.process.pid)
        begun = sum(process.cpu_times()[:2])
        stub.Stylize(message, timeout=240)
        made = sum(process.cpu_times()[:2])
        whole = made - begun
        calls = [stub.Stylize.future(message, timeout=240) for _ in range(3)]
        until(lambda: sum(process.cpu_times()[:2]) - made > whole / 8, "one call is at work; the others wait")
        before, earlier = sum(process.cpu_times()[:2]), children_seconds()
        assert running.stop() == 0
        assert children_seconds() - earlier - before < 1 + whole / 2
        for call in calls:
            assert isinstance(call.exception(), grpc.RpcError)
    assert any("calls did not finish within 0.5 s" in line for line in running.log)


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a supervisor, which also receives the sender's process id."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def notice(listening: socket.socket) -> tuple[int, dict[str, str]]:
    """Return the next notification: the sender's process id, and the message."""
    message, ((_, _, credentials),), _, _ = listening.recvmsg(4096, socket.CMSG_SPACE(12))
    return struct.unpack("iII", credentials)[0], dict(line.split("=", 1) for line in message.decode().splitlines())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_supervisor_hears_of_readiness_and_of_the_end(start_server, notices: socket.socket, processes: int) -> None:
    environment = {"NOTIFY_SOCKET": notices.getsockname()}
    running = start_server("--model", "lite", "--processes", processes, env=environment)
    main = running.process.pid
    assert notice(notices) == (main, {"READY": "1", "STATUS": running.banner})
    assert running.stop() == 0
    assert notice(notices) == (main, {"STOPPING": "1"})
    notices.settimeout(0.1)
    with pytest.raises(TimeoutError):
        notice(notices)


def test_a_supervisor_that_is_not_there_holds_nothing_up(start_server) -> None:
    running = start_server("--model", "lite", env={"NOTIFY_SOCKET": "@stylewire nobody listens"})
    assert running.stop() == 0
    assert any("the supervisor cannot be told READY=1: " in line for line in running.log)


def test_a_taken_port_is_one_clear_line(server) -> None:
    command = [sys.executable, "-m", "stylewire_server", "serve", "--model", "lite", "--port", str(server.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("stylewire_server: ")
    assert f"cannot bind 127.0.0.1:{server.port}: the port is taken" in line


def test_a_caller_that_hangs_up_does_no_harm(server, photo: Path, style_picture: Path) -> None:
    message = request(photo, style_picture)
    with grpc.insecure_channel(server.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        calls = [stub.Stylize.future(message, timeout=240) for _ in range(20)]
        for call in calls[1::2]:
            call.cancel()
        assert all(call.result().width == 512 for call in calls[::2])
        assert stub.Stylize(message, timeout=240).width == 512
