"""nginx in front of two servers, as deploy/nginx.conf sets it up."""

import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from stylewire import Client
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import ServerProcess, until

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx"),
]

CALLERS = 8


class Balanced:
    """Two servers on ports of their own behind nginx."""

    def __init__(self, folder: Path, ports: list[int], style: Path) -> None:
        self.folder, self.ports = folder, ports
        self.flags = ("--model", "lite", "--data-dir", folder / "styles", "--threads", "1", "--streams", "1")
        self.servers = [self.serve(port) for port in ports[:2]]
        with Client(self.servers[0].target, timeout=60) as client:
            client.styles.create("style", style)
        self.target = f"127.0.0.1:{ports[2]}"
        text = CONFIGURATION.read_text()
        for number, port in enumerate(ports[:2], 1):
            text = text.replace(f"stylewire-{number}:50051", f"127.0.0.1:{port}")
        text = text.replace("listen 50050", f"listen {self.target}").replace("/tmp/stylewire-nginx", f"{folder}/nginx")
        text = text.replace("worker_processes auto;", "worker_processes 1;\ndaemon off;")
        (folder / "nginx.conf").write_text(text)
        self.nginx = subprocess.Popen([NGINX, "-c", folder / "nginx.conf"], stderr=(folder / "nginx.log").open("w"))

    def serve(self, port: int) -> ServerProcess:
        return ServerProcess("--port", port, *self.flags)

    def stop(self) -> None:
        self.nginx.terminate()
        self.nginx.wait(20)
        for server in self.servers:
            server.process.kill()
            server.process.wait()

    def pictures(self, server: ServerProcess) -> int:
        """Pictures that a server has made, by its log."""
        return sum("method=Stylize code=OK" in line for line in list(server.log))


@pytest.fixture
def balanced(tmp_path: Path, free_port: Callable[[], int], style_picture: Path) -> Iterator[Balanced]:
    running = Balanced(tmp_path, [free_port() for _ in range(3)], style_picture)
    yield running
    running.stop()


class Callers:
    """Callers that go on until they are told to stop, each over its own connection. gRPC itself retries nothing."""

    def __init__(self, target: str, photo: Path) -> None:
        self.codes: Counter[grpc.StatusCode] = Counter()
        self._request = pb.StylizeRequest(
            content=pb.Image(encoded=photo.read_bytes()), styles=[pb.WeightedStyle(name="style")]
        )
        self._target, self._stop = target, threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._target, options) as channel:
            stub = stylizer_pb2_grpc.StylizerStub(channel)
            while not self._stop.is_set():
                try:
                    stub.Stylize(self._request, timeout=60, wait_for_ready=True)
                    self.codes[grpc.StatusCode.OK] += 1
                except grpc.RpcError as error:
                    self.codes[error.code()] += 1

    def more(self, count: int) -> None:
        """Wait for so many more pictures."""
        enough = self.codes[grpc.StatusCode.OK] + count
        until(lambda: self.codes[grpc.StatusCode.OK] >= enough, f"{count} more pictures", 120)

    def end(self) -> Counter[grpc.StatusCode]:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
        return self.codes


def test_one_connection_reaches_both_servers(balanced: Balanced, photo: Path) -> None:
    with Client(balanced.target, timeout=60) as client:
        calls = [threading.Thread(target=client.stylize, args=(photo, "style")) for _ in range(40)]
        for call in calls:
            call.start()
        for call in calls:
            call.join(120)
    counts = [balanced.pictures(server) for server in balanced.servers]
    assert sum(counts) == 40
    assert min(counts) >= 5


def test_a_killed_server_costs_no_call(balanced: Balanced, photo: Path) -> None:
    callers = Callers(balanced.target, photo)
    callers.more(40)
    balanced.servers[0].process.send_signal(signal.SIGKILL)
    callers.more(40)
    assert set(callers.end()) == {grpc.StatusCode.OK}


def test_a_rolling_restart_costs_no_call(balanced: Balanced, photo: Path) -> None:
    callers = Callers(balanced.target, photo)
    callers.more(20)
    for number, server in enumerate(balanced.servers):
        assert server.stop() == 0
        callers.more(20)
        balanced.servers[number] = balanced.serve(balanced.ports[number])
        callers.more(20)
    assert set(callers.end()) == {grpc.StatusCode.OK}
