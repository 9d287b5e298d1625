"""nginx in front of two servers, as deploy/nginx.conf sets it up."""

import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stylewire import Client, StylewireError
from stylewire_server.testing import ServerProcess, until

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx")

CALLERS = 8


class Balanced:
    """Two servers on free ports behind nginx."""

    def __init__(self, folder: Path, ports: list[int], style: Path) -> None:
        self.folder, self.ports = folder, ports
        self.flags = ("--model", "lite", "--data-dir", folder / "styles", "--threads", "1", "--streams", "1")
        self.servers = [self.serve(port) for port in ports[:2]]
        with Client(self.servers[0].target, timeout=60) as client:
            client.styles.create("style", style)
        self.target = f"127.0.0.1:{ports[2]}"
        self.configure()
        self.nginx = subprocess.Popen([NGINX, "-c", folder / "nginx.conf"], stderr=(folder / "nginx.log").open("w"))

    def configure(self, down: int | None = None) -> None:
        """Write the file of the tree with the addresses of this test, with the server of that index taken out."""
        text = CONFIGURATION.read_text()
        for number, port in enumerate(self.ports[:2]):
            out = "down " if number == down else ""
            text = text.replace(f"stylewire-{number + 1}:50051 ", f"127.0.0.1:{port} {out}")
        text = text.replace("listen 50050", f"listen {self.target}")
        text = text.replace("/tmp/stylewire-nginx", f"{self.folder}/nginx")
        text = text.replace("worker_processes auto;", "worker_processes 1;\ndaemon off;")
        (self.folder / "nginx.conf").write_text(text)

    def take_out(self, down: int | None) -> None:
        """Let nginx read the file again, with the server of that index taken out, or with both."""
        self.configure(down)
        self.nginx.send_signal(signal.SIGHUP)

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
    """Callers that stylize until they are stopped, each with its own client and its default retries."""

    def __init__(self, target: str, photo: Path) -> None:
        self.ended: Counter[str] = Counter()
        self._target, self._photo, self._stop = target, photo, threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        with Client(self._target, timeout=60) as client:
            while not self._stop.is_set():
                try:
                    client.stylize(self._photo, "style")
                    self.ended["picture"] += 1
                except StylewireError as error:
                    self.ended[repr(error)] += 1

    def more(self, count: int) -> None:
        """Wait for so many more pictures."""
        enough = self.ended["picture"] + count
        until(lambda: self.ended["picture"] >= enough, f"{count} more pictures", 120)

    def end(self) -> set[str]:
        """Return the outcomes of the calls."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
        return set(self.ended)


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


def test_a_killed_server_costs_at_most_the_calls_that_it_had(balanced: Balanced, photo: Path) -> None:
    """nginx answers 502 to a call that had begun; most of them are saved by the client's retries."""
    callers = Callers(balanced.target, photo)
    callers.more(40)
    balanced.servers[0].process.send_signal(signal.SIGKILL)
    callers.more(40)
    failed = callers.end() - {"picture"}
    assert all(error.startswith("Unavailable(") for error in failed)
    assert callers.ended.total() - callers.ended["picture"] <= CALLERS


def test_a_rolling_restart_costs_no_call(balanced: Balanced, photo: Path) -> None:
    callers = Callers(balanced.target, photo)
    callers.more(20)
    for number, server in enumerate(balanced.servers):
        balanced.take_out(number)
        callers.more(20)
        assert server.stop() == 0
        balanced.servers[number] = balanced.serve(balanced.ports[number])
        balanced.take_out(None)
        callers.more(20)
    assert callers.end() == {"picture"}
