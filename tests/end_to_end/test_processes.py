"""Several server processes on one port: `serve --processes N`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from stylewire import Client, Tls, Unauthenticated
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.admission.tokens import new_token
from stylewire_server.testing import until

# A connection of its own for every channel, and the server's first answer as it is.
ALONE = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]

CONNECTIONS = 24
"""Number of connections. The kernel gives all of them to one of two processes with a chance of 1 in 8 million."""


class Family:
    """Two server processes and their parent, in their own session as behind a terminal."""

    def __init__(self, log: Path, *flags: object) -> None:
        self._log = log
        with log.open("w") as errors:
            self.parent = psutil.Popen(
                serve("--processes", 2, "--model", "lite", *flags),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.banner = self.parent.stdout.readline().strip()
        assert self.banner, self.log
        self.target = self.banner.split()[2]
        self.port = int(self.target.rpartition(":")[2])
        self.children = self.parent.children()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self, seconds: float = 300) -> int:
        """Exit code of the parent, once it and all its children are gone; what it printed after the banner is empty."""
        try:
            code = self.parent.wait(seconds)
            assert self.parent.stdout.read() == ""
            _, alive = psutil.wait_procs(self.children, 60)
            assert alive == []
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """Kill all processes, whatever the result of the test."""
        for process in [self.parent, *self.children]:
            if process.is_running():
                process.kill()


def serve(*flags: object) -> list[str]:
    return [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", *map(str, flags)]


def two_free_ports() -> int:
    """Return the lower of two neighboring free ports."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[..., Family]]:
    """Return a function that starts two processes with given flags. The test ends them."""
    with ExitStack() as stack:

        def start(*flags: object) -> Family:
            started = Family(tmp_path / "log", *flags)
            stack.callback(started.kill)
            return started

        yield start


@dataclass
class Watched:
    """Two processes that the test distinguishes by their metrics."""

    family: Family
    metrics_port: int
    begun: Callable[[str], int]

    def calls(self) -> list[int]:
        """Return the number of finished GetModel calls of each process."""
        return [self._got_model(index) for index in range(2)]

    def wait_for_heads(self, count: int) -> None:
        """Wait until both processes together have received so many Stylize calls."""
        until(lambda: sum(self.begun(self._metrics(index)) for index in range(2)) >= count, f"{count} calls have begun")

    def _metrics(self, index: int) -> str:
        return f"http://127.0.0.1:{self.metrics_port + index}/metrics"

    def _got_model(self, index: int) -> int:
        with urllib.request.urlopen(self._metrics(index), timeout=240) as answer:
            found = re.findall(
                r'^stylewire_requests_total\{.*GetModel".*\} (\S+)$', answer.read().decode(), re.MULTILINE
            )
        return sum(int(float(value)) for value in found)

    @contextmanager
    def one_channel_each(self) -> Iterator[list[grpc.Channel]]:
        """Return a channel to the first process and one to the second."""
        with ExitStack() as stack:
            found: dict[int, grpc.Channel] = {}
            for _ in range(CONNECTIONS):
                channel = stack.enter_context(grpc.insecure_channel(self.family.target, ALONE))
                before = self.calls()
                stylizer_pb2_grpc.StylizerStub(channel).GetModel(pb.GetModelRequest(), timeout=20)
                after = self.calls()
                found[next(index for index in range(2) if after[index] > before[index])] = channel
                if len(found) == 2:
                    break
            yield [found[0], found[1]]

    def child(self, index: int) -> psutil.Process:
        """Return the process with that metrics port."""
        port = self.metrics_port + index
        listening = [c for c in self.family.children if port in {n.laddr.port for n in c.net_connections("tcp")}]
        assert len(listening) == 1
        return listening[0]


@pytest.fixture
def watched(family: Callable[..., Family], calls_begun: Callable[[str], int]) -> Watched:
    """Two processes with metrics for one test, which ends them."""
    port = two_free_ports()
    # Time enough on a busy machine for the calls of a test.
    return Watched(family("--metrics-port", port, "--grace", 240), port, calls_begun)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, calls_begun: Callable[[str], int]) -> Iterator[Watched]:
    """Two processes that several tests share and must not change."""
    port = two_free_ports()
    running = Family(tmp_path_factory.mktemp("pair") / "log", "--metrics-port", port)
    yield Watched(running, port, calls_begun)
    running.parent.terminate()
    assert running.end() == 0
    assert "Traceback" not in running.log


def request(photo: Path, style: Path) -> pb.StylizeRequest:
    return pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style.read_bytes()))],
        options=pb.StylizeOptions(fit=pb.FIT_NATIVE),
    )


def test_the_parent_is_light_and_says_once_that_all_serve(pair: Watched) -> None:
    assert re.fullmatch(r"serving on 127\.0\.0\.1:\d+ model=lite precision=\S+ processes=2", pair.family.banner)
    assert len(pair.family.children) == 2
    loaded = {mapped.path.rpartition("/")[2].split(".")[0] for mapped in pair.family.parent.memory_maps()}
    assert not {name for name in loaded if "cygrpc" in name or "openvino" in name}


def test_new_connections_reach_every_process(pair: Watched) -> None:
    before = pair.calls()
    for _ in range(CONNECTIONS):
        with grpc.insecure_channel(pair.family.target, ALONE) as channel:
            model = stylizer_pb2_grpc.StylizerStub(channel).GetModel(pb.GetModelRequest(), timeout=20)
            assert (model.limits.queue_size, model.limits.max_streams) == (64, 16)
    grown = [after - first for after, first in zip(pair.calls(), before, strict=True)]
    assert min(grown) > 0
    assert sum(grown) == CONNECTIONS


def test_a_style_kept_through_one_process_is_known_to_the_other(
    pair: Watched, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    def create(stub: stylizer_pb2_grpc.StylizerStub, picture: Path, overwrite: bool = False) -> None:
        source = pb.WeightedStyle(image=pb.Image(encoded=picture.read_bytes()))
        stub.CreateStyle(pb.CreateStyleRequest(name="shared", styles=[source], overwrite=overwrite), timeout=240)

    def paint(stub: stylizer_pb2_grpc.StylizerStub) -> bytes:
        message = pb.StylizeRequest(
            content=pb.Image(encoded=photo.read_bytes()),
            styles=[pb.WeightedStyle(name="shared")],
            options=pb.StylizeOptions(encoding=pb.ENCODING_PNG),
        )
        return stub.Stylize(message, timeout=240).image.encoded

    with pair.one_channel_each() as channels:
        first, second = map(stylizer_pb2_grpc.StylizerStub, channels)
        create(first, style_picture)
        once = paint(second)
        assert once == paint(first)
        create(second, other_style_picture, overwrite=True)
        assert paint(first) == paint(second) != once
        first.DeleteStyle(pb.DeleteStyleRequest(name="shared"), timeout=240)
        with pytest.raises(grpc.RpcError) as caught:
            paint(second)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("processes", [1, 2])
def test_their_port_is_refused_to_other_servers(pair: Watched, processes: int) -> None:
    command = [*serve("--model", "lite", "--processes", processes), "--port", str(pair.family.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 1
    assert f"cannot bind {pair.family.target}: the port is taken" in ended.stderr
    assert ended.stdout == ""


def test_the_probe_finds_them_serving(pair: Watched) -> None:
    command = [sys.executable, "-m", "stylewire_server", "health", "--target", pair.family.target]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert (ended.returncode, ended.stdout) == (0, "SERVING\n")


def test_sigterm_under_load_sees_every_call_through(watched: Watched, photo: Path, style_picture: Path) -> None:
    running = watched.family
    message = request(photo, style_picture)
    with ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(running.target, ALONE)) for _ in range(4)]
        stubs = [stylizer_pb2_grpc.StylizerStub(channel) for channel in channels]
        calls = [stub.Stylize.future(message, timeout=240) for stub in stubs for _ in range(12)]
        watched.wait_for_heads(len(calls))
        running.parent.terminate()
        late = []
        while running.parent.poll() is None:
            try:
                stubs[len(late) % 4].Stylize(message, timeout=240)
                late.append(None)
            except grpc.RpcError as error:
                late.append(error.code())
            time.sleep(0.01)
        assert [call.result().width for call in calls] == [512] * len(calls)
        assert grpc.StatusCode.UNAVAILABLE in late
        # Cancelled is gRPC's own answer to a call that comes in at the moment that a server closes.
        assert set(late) <= {None, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert running.end() == 0
    assert "Traceback" not in running.log


def test_a_killed_process_ends_the_others_when_their_calls_are_done(
    watched: Watched, photo: Path, style_picture: Path
) -> None:
    message = request(photo, style_picture)
    with watched.one_channel_each() as channels:
        doomed, other = map(stylizer_pb2_grpc.StylizerStub, channels)
        calls = [other.Stylize.future(message, timeout=240) for _ in range(20)]
        lost = [doomed.Stylize.future(message, timeout=240) for _ in range(20)]
        watched.wait_for_heads(40)
        watched.child(0).kill()
        assert [call.result().width for call in calls] == [512] * 20
        errors = [call.exception() for call in lost]
        assert {error.code() for error in errors if error is not None} == {grpc.StatusCode.UNAVAILABLE}
    assert watched.family.end() == 70
    told = [line for line in watched.family.log.splitlines() if "SIGKILL" in line]
    assert told == [
        "stylewire_server: process 1 of 2 was ended by SIGKILL; the others finish their calls; start the server again"
    ]


def test_a_process_that_hangs_is_killed_after_the_grace(family: Callable[..., Family]) -> None:
    running = family("--grace", 0)
    running.children[1].suspend()
    running.parent.terminate()
    assert running.end() == 70
    assert "of 2 was ended by SIGKILL: it did not end by itself" in running.log


def test_a_killed_parent_ends_them_when_their_calls_are_done(
    watched: Watched, photo: Path, style_picture: Path
) -> None:
    running = watched.family
    message = request(photo, style_picture)
    with ExitStack() as stack:
        channels = [stack.enter_context(grpc.insecure_channel(running.target, ALONE)) for _ in range(4)]
        stubs = [stylizer_pb2_grpc.StylizerStub(channel) for channel in channels]
        calls = [stub.Stylize.future(message, timeout=240) for stub in stubs for _ in range(8)]
        watched.wait_for_heads(len(calls))
        running.parent.kill()
        assert [call.result().width for call in calls] == [512] * len(calls)
    assert running.end() == -signal.SIGKILL
    assert "Traceback" not in running.log


def test_sighup_reaches_all_and_ctrl_c_ends_all_quietly(
    family: Callable[..., Family], authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    tokens = tmp_path / "tokens"
    old, entry = new_token("old")
    tokens.write_text(f"{entry}\n")
    running = family("--tls-cert", certificate, "--tls-key", key, "--tokens", tokens, "--channelz")
    trust = Tls(ca=authority.certificate)
    new, entry = new_token("new")
    tokens.write_text(f"{entry}\n")
    running.parent.send_signal(signal.SIGHUP)
    until(lambda: running.log.count("tokens reloaded") == 2, "both processes have reloaded their tokens")
    for _ in range(8):
        with Client(running.target, timeout=20, tls=trust, token=new) as client:
            assert client.model().edition == "lite"
        with Client(running.target, timeout=20, tls=trust, token=old) as client, pytest.raises(Unauthenticated):
            client.model()
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    with grpc.secure_channel(running.target, credentials, ALONE) as channel:
        servers = channelz_pb2_grpc.ChannelzStub(channel).GetServers(
            channelz_pb2.GetServersRequest(), timeout=20, metadata=[("authorization", f"Bearer {new}")]
        )
        assert len(servers.server) == 1
    os.killpg(running.parent.pid, signal.SIGINT)
    assert running.end() == 0
    assert "Traceback" not in running.log
    assert running.log.count("draining") == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "/no/such/model"], "/no/such/model holds no converted model"),
        (["--host", "no such host"], "'no such host' is neither an address nor the name of a host"),
    ],
)
def test_what_cannot_be_served_is_said_once(flags: list[str], message: str) -> None:
    parent = psutil.Popen(serve("--processes", 2, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children: set[psutil.Process] = set()
    while parent.poll() is None:
        children.update(parent.children())
        time.sleep(0.02)
    out, errors = parent.communicate(timeout=240)
    assert parent.returncode == 1
    assert out == ""
    assert errors.count("\n") == 1, errors
    assert message in errors
    assert psutil.wait_procs(children, 60)[1] == []


def test_a_taken_port_of_metrics_is_refused_and_ends_the_other() -> None:
    with socket.socket() as taken:
        port = two_free_ports()
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        command = serve("--processes", 2, "--model", "lite", "--metrics-port", port)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count(f"cannot bind 127.0.0.1:{port + 1} for the metrics") == 1
    assert "Traceback" not in ended.stderr
