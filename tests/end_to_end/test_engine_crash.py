"""Servers whose engine fails once, or on every picture."""

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

SCRIPT = Path(__file__).with_name("faulty_server.py")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Faulty:
    """A process of the faulty server."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), "serve", "--port", "0", "--model", "lite"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.target = self.process.stdout.readline().split()[2]

    def end(self) -> tuple[int, str]:
        """Exit code and log of a process that ends by itself."""
        try:
            _, log = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, log


@pytest.fixture
def faulty(tmp_path: Path):
    running = Faulty(tmp_path)
    yield running
    running.process.kill()
    running.process.wait()


def request(photo: Path, style: Path, fit: int) -> pb.StylizeRequest:
    return pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style.read_bytes()))],
        options=pb.StylizeOptions(fit=fit),
    )


def test_a_fault_with_one_picture_is_that_calls_alone(
    faulty: Faulty, tmp_path: Path, photo: Path, style_picture: Path
) -> None:
    (tmp_path / "once").touch()
    with grpc.insecure_channel(faulty.target, [("grpc.enable_retries", 0)]) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Stylize(request(photo, style_picture, pb.FIT_NATIVE), timeout=60)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "request id" in caught.value.details()
        assert "secret" not in str(caught.value)
        assert stub.Stylize(request(photo, style_picture, pb.FIT_CROP_256), timeout=60).width == 256
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert check.status == SERVING
    assert faulty.process.poll() is None


def test_a_crash_ends_the_server_so_that_a_supervisor_starts_it_again(
    faulty: Faulty, tmp_path: Path, photo: Path, style_picture: Path
) -> None:
    seen: list[int] = []
    with grpc.insecure_channel(faulty.target, [("grpc.enable_retries", 0)]) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        assert stub.Stylize(request(photo, style_picture, pb.FIT_CROP_256), timeout=60).width == 256
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watching).status == SERVING

        def watch() -> None:
            with contextlib.suppress(grpc.RpcError):
                seen.extend(answer.status for answer in watching)

        watcher = threading.Thread(target=watch)
        watcher.start()
        (tmp_path / "always").touch()
        with pytest.raises(grpc.RpcError) as caught:
            stub.Stylize(request(photo, style_picture, pb.FIT_CROP_256), timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "secret" not in str(caught.value)
        code, log = faulty.end()
        watcher.join(30)
    assert code == 70
    assert NOT_SERVING in seen
    assert "the engine has crashed" in log
