"""Fixtures of the robustness tests: allowed outcomes of a call, and measurements of a process."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb

FOLDER = Path(__file__).parent

TYPED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
}
"""Statuses that a call may end with, besides a picture, if neither client nor server has a bug."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests in this folder."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.robustness)


class Vitals:
    """Memory, file descriptors and threads of a process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def read(self) -> dict[str, int]:
        """Return the present values; memory in bytes."""
        return {
            "memory": self._process.memory_info().rss,
            "descriptors": self._process.num_fds(),
            "threads": self._process.num_threads(),
        }


class Meter:
    """CPU seconds and peak memory of a process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._proc = Path("/proc", str(pid))

    def start(self) -> None:
        """Begin a measurement: the peak of memory is what is used now (proc(5), clear_refs)."""
        (self._proc / "clear_refs").write_text("5")
        self._cpu, self._memory = self.cpu(), self._process.memory_info().rss

    def cpu(self) -> float:
        """Return the CPU seconds so far."""
        times = self._process.cpu_times()
        return times.user + times.system

    def spent(self) -> tuple[float, int]:
        """Return the CPU seconds and the growth of the peak since `start`."""
        (peak,) = [line.split() for line in (self._proc / "status").read_text().splitlines() if "VmHWM" in line]
        return self.cpu() - self._cpu, int(peak[1]) * 1024 - self._memory


@pytest.fixture(scope="session")
def meter_of() -> Callable[[int], Meter]:
    """Return a function that makes a meter for a process id."""
    return Meter


@pytest.fixture(scope="session")
def vitals() -> Callable[[int], Vitals]:
    """Return a function that reads the vitals of a process id."""
    return Vitals


@pytest.fixture(scope="session")
def job(photo: Path, style_picture: Path) -> pb.StylizeRequest:
    """A valid request."""
    return pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
    )


@pytest.fixture
def still_serves(job: pb.StylizeRequest) -> Callable[[str], None]:
    """Return a function that checks that the server at HOST:PORT still makes a picture."""

    def check(target: str) -> None:
        with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            answer = channel.unary_unary(
                "/stylewire.v1.Stylizer/Stylize",
                pb.StylizeRequest.SerializeToString,
                pb.StylizeResponse.FromString,
            )(job, timeout=60)
            assert (answer.width, answer.height) == (256, 256)

    return check


@pytest.fixture
def outcomes() -> "Outcomes":
    """A counter of the outcomes of calls."""
    return Outcomes()


class Outcomes:
    """The outcomes of calls: pictures, or errors whose status is in `TYPED`."""

    def __init__(self) -> None:
        self.codes: Counter[grpc.StatusCode] = Counter()

    def add(self, call: grpc.Future) -> None:
        """Count a finished call."""
        error = call.exception()
        code = grpc.StatusCode.OK if error is None else error.code()
        assert code is grpc.StatusCode.OK or code in TYPED, f"{code}: {error.details()}"
        self.codes[code] += 1

    @property
    def pictures(self) -> int:
        """The number of calls that returned a picture."""
        return self.codes[grpc.StatusCode.OK]
