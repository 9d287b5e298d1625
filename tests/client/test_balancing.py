"""Several servers, restarts and proxies, with real servers that are killed while they work."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from stylewire import Client, InvalidRequest, ServerBusy, Tls, Unavailable
from stylewire.channel import _is_local
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import ServerProcess, until

ONE_AT_A_TIME = ("--model", "lite", "--streams", "1", "--threads", "1")


@pytest.fixture(scope="module")
def pair() -> Iterator[list[ServerProcess]]:
    """Two servers that the tests share. A test may end them and put others in their places."""
    with ExitStack() as stack:
        servers = []
        stack.callback(lambda: [server.stop(signal.SIGKILL) for server in servers])
        servers += [ServerProcess(*ONE_AT_A_TIME) for _ in range(2)]
        yield servers


@pytest.fixture
def two_servers(pair: list[ServerProcess]) -> list[ServerProcess]:
    """Two servers that run."""
    pair[:] = [server if server.process.poll() is None else ServerProcess(*ONE_AT_A_TIME) for server in pair]
    return pair


class Load:
    """Eight threads that stylize until they are stopped, with the outcomes of their calls."""

    def __init__(self, client: Any, photo: Path, style: Path) -> None:
        self.done = 0
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(client, photo, style)) for _ in range(8)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until that many more calls are done."""
        aim = self.done + more
        until(lambda: self.failures or self.done >= aim, f"{more} more calls are done")
        assert self.done >= aim, (self.done, self.failures)

    def _run(self, client: Any, photo: Path, style: Path) -> None:
        while not self._stop.is_set():
            try:
                client.stylize(photo, style)
            except Exception as error:
                self.failures.append(error)
                return
            with self._lock:
                self.done += 1
            # Calls are always open, and the cores are left to the servers that start.
            self._stop.wait(0.25)


def test_two_servers_share_the_work_and_a_kill_loses_nothing(
    two_servers: list[ServerProcess], open_client: Callable[..., Any], photo: Path, style_picture: Path
) -> None:
    """One kind of client has the targets as a list, the other as the address that gRPC has for it."""
    first, second = two_servers
    targets: Any = [first.target, second.target]
    if open_client is Client:
        targets = f"ipv4:{first.target},{second.target}"
    with closing(open_client(targets, timeout=60)) as client:
        client.stylize(photo, style_picture)
        with Load(client, photo, style_picture) as load:
            load.wait_for(40)
            before = cpu_seconds(first), cpu_seconds(second)
            load.wait_for(60)
            shares = [after - start for after, start in zip(map(cpu_seconds, two_servers), before, strict=True)]
            first.stop(signal.SIGKILL)
            load.wait_for(40)
        assert load.failures == []
    # Round robin gives both the same number of calls; their CPU time differs a little.
    assert min(shares) > 0.25 * sum(shares)


def test_servers_with_one_certificate_share_the_work(authority: Any, photo: Path, style_picture: Path) -> None:
    """The certificate is checked for the first name of the list; gRPC alone would look for all addresses in it."""
    certificate, key = authority.issue("servers")
    flags = (*ONE_AT_A_TIME, "--tls-cert", certificate, "--tls-key", key)
    trusted = Tls(ca=authority.certificate)
    with ExitStack() as stack:
        servers = [ServerProcess(*flags) for _ in range(2)]
        for server in servers:
            stack.callback(server.stop, signal.SIGKILL)
        targets = [f"localhost:{server.port}" for server in servers]
        client = stack.enter_context(Client(targets, timeout=60, tls=trusted))
        client.stylize(photo, style_picture)
        with Load(client, photo, style_picture) as load:
            load.wait_for(40)
            counts = [sum("method=Stylize code=OK" in line for line in list(server.log)) for server in servers]
            servers[0].stop(signal.SIGKILL)
            load.wait_for(40)
        assert load.failures == []
        assert min(counts) >= 10
        # 127.0.0.2 is this machine too, and no name of the certificate.
        wrong = [f"127.0.0.2:{servers[1].port}", targets[1]]
        with Client(wrong, timeout=5, tls=trusted) as client, pytest.raises(Unavailable, match=r"127\.0\.0\.2"):
            client.model()


def cpu_seconds(server: ServerProcess) -> float:
    """Return the CPU seconds that a server has taken so far."""
    fields = (server.proc / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_that_restarts_costs_no_failed_call(photo: Path, style_picture: Path) -> None:
    server = ServerProcess("--model", "lite")
    try:
        with Client(server.target, timeout=120) as client, Load(client, photo, style_picture) as load:
            for number in (signal.SIGKILL, signal.SIGTERM):
                load.wait_for(20)
                server.stop(number)
                # Nobody listens for three seconds.
                time.sleep(3)
                server = ServerProcess("--model", "lite", "--port", str(server.port))
                load.wait_for(40)
        assert load.failures == []
    finally:
        server.stop()


def test_a_rolling_restart_of_two_servers_costs_no_failed_call(
    two_servers: list[ServerProcess], photo: Path, style_picture: Path
) -> None:
    targets = [server.target for server in two_servers]
    with Client(targets, timeout=120) as client, Load(client, photo, style_picture) as load:
        for index, server in enumerate(two_servers):
            load.wait_for(20)
            server.stop()
            two_servers[index] = ServerProcess(*ONE_AT_A_TIME, "--port", str(server.port))
            load.wait_for(20)
        load.wait_for(20)
    assert load.failures == []


class Busy(stylizer_pb2_grpc.StylizerServicer):
    """A server that is always full, and counts the attempts."""

    def __init__(self) -> None:
        self.attempts = 0
        self._lock = threading.Lock()

    def Stylize(self, request: pb.StylizeRequest, context: grpc.ServicerContext) -> pb.StylizeResponse:  # noqa: N802
        with self._lock:
            self.attempts += 1
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
        raise AssertionError("abort raises")


def test_retries_stop_when_nothing_succeeds(photo: Path) -> None:
    """Without throttling 60 calls would make 300 attempts."""
    busy = Busy()
    server = grpc.server(ThreadPoolExecutor(8))
    stylizer_pb2_grpc.add_StylizerServicer_to_server(busy, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client(f"127.0.0.1:{port}") as client, ThreadPoolExecutor(20) as threads:
            calls = [threads.submit(client.stylize, photo, photo) for _ in range(60)]
            assert all(isinstance(call.exception(), ServerBusy) for call in calls)
    finally:
        server.stop(None).wait()
    assert 60 <= busy.attempts <= 110


def test_targets_on_this_machine_bypass_a_proxy(server: Any, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"}
    for target in (server.target, f"localhost:{server.port}", f"ipv4:{server.target}"):
        command = [sys.executable, "-m", "stylewire", "--target", target, "model"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("localhost:1", True),
        ("127.0.0.2:50051", True),
        ("[::1]:50051", True),
        ("unix:/run/stylewire.sock", True),
        ("dns:///localhost:1", True),
        ("ipv4:127.0.0.1:1", True),
        ("ipv6:[::1]:1", True),
        ("example.com:50051", False),
        ("dns:///stylewire.internal:50051", False),
        ("10.0.0.1:1", False),
        ("localhost.example.com:1", False),
    ],
)
def test_what_is_on_this_machine(target: str, local: bool) -> None:
    assert _is_local(target) is local


def test_a_list_of_targets_is_checked() -> None:
    with pytest.raises(InvalidRequest, match=r"'nowhere' in the list of targets is not HOST:PORT"):
        Client(["nowhere", "127.0.0.1:1"])
    with pytest.raises(InvalidRequest, match="has no address"):
        Client(["nowhere.invalid:1", "127.0.0.1:1"])
    with pytest.raises(InvalidRequest, match="mixes IPv4 and IPv6"):
        Client(["[::1]:1", "127.0.0.1:1"])
    with Client(["127.0.0.1:1", "127.0.0.1:2"], timeout=0.5) as client, pytest.raises(Unavailable):
        client.model()
