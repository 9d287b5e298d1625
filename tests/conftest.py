"""Fixtures that all tests share: pictures, real server processes, and clients."""

import asyncio
import fcntl
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from PIL import Image
from stylewire import AsyncClient, Client
from stylewire_server.testing import ServerProcess, until

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"

# The same examples in every run, so that a failure can be repeated; `make soak` draws new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
if os.environ.get("STYLEWIRE_SOAK") != "1":
    hypothesis.settings.load_profile("repeatable")

LONGEST = (
    "server/ray/test_batch.py",
    "server/preparation/test_quantize.py",
    "http/test_page.py",
    "optimizer_baseline/test_transfer.py",
    "examples/test_clients.py",
    "client/test_balancing.py",
    "deploy/test_balancers.py",
    "end_to_end/test_processes.py",
    "end_to_end/test_lifecycle.py",
    "optimizer_baseline/objective/test_objective.py",
    "end_to_end/test_sizes_and_memory.py",
    "server/test_serving_full.py",
    "test_packages.py",
    "robustness/test_load.py",
    "optimizer_baseline/test_cli.py",
    "server/engine/test_full.py",
    "server/engine/test_tiles.py",
    "optimizer_baseline/tuning/test_tuner.py",
    "http/test_security.py",
    "optimizer_baseline/comparison/test_check.py",
    "optimizer_baseline/comparison/test_compare.py",
    "end_to_end/test_style_durability.py",
    "robustness/test_hostile_callers.py",
    "end_to_end/test_streams.py",
    "end_to_end/test_video.py",
    "examples/test_notebook.py",
    "server/preparation/test_savedmodel.py",
    "server/preparation/test_fetch.py",
    "server/models/test_lite.py",
    "server/imaging/test_damage.py",
    "optimizer_baseline/objective/test_presets.py",
    "server/styles/test_s3.py",
    "robustness/test_small_machine.py",
    "end_to_end/test_tls.py",
    "server/engine/test_graph_cache.py",
    "optimizer_baseline/test_activations.py",
    "robustness/test_wire.py",
    "end_to_end/test_engine_crash.py",
    "end_to_end/test_reload.py",
    "test_docs.py",
)
"""The files that take longest, in the order in which they begin when files run side by side.

A long file that begins last would leave the other cores idle. The first two wait much, and the second makes the
converted model for others.
"""

Fill = Callable[[Path], object]
"""A function that puts files into a folder."""


def pytest_configure() -> None:
    """Let the processes that tests start be interrupted: those of a shell's background job ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: three at least, because many tests wait for other processes."""
    return max(3, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first; the order within a file stays."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def own_data_dir(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the tests their own data folder, so that they do not change the user's named styles."""
    os.environ["STYLEWIRE_DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
    # A test that lists styles sees its own; tests of the gallery switch it on.
    os.environ["STYLEWIRE_NO_GALLERY"] = "true"


@pytest.fixture(scope="session", autouse=True)
def own_cache(common_folder: Path) -> None:
    """Give all tests of a run one cache folder, so that servers start sooner and the user's cache is not used."""
    os.environ["STYLEWIRE_CACHE"] = str(common_folder / "own-cache")


@pytest.fixture(scope="session", autouse=True)
def one_process() -> None:
    """Use one server process by default, so that machines of many cores run the same tests as others."""
    os.environ["STYLEWIRE_PROCESSES"] = "1"


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., ServerProcess]]:
    """Yield a function that starts a server process with given flags. The caller stops it.

    A test that fails may not come to that, so those that are left are killed in the end.
    """
    started: list[ServerProcess] = []

    def start(*flags: object, **options: Any) -> ServerProcess:
        started.append(ServerProcess(*flags, **options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that finds a free port of 127.0.0.1, for a server that is restarted at the same port."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def with_facts() -> Callable[..., bytes]:
    """Return a function that returns a style file with changed facts."""

    def change(data: bytes, **changed: object) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
            for name in before.namelist():
                part = before.read(name)
                after.writestr(name, json.dumps({**json.loads(part), **changed}) if name == "style.json" else part)
        return out.getvalue()

    return change


@pytest.fixture(scope="session")
def calls_begun() -> Callable[[str], int]:
    """Return a function that returns the number of begun Stylize calls, from a server's metrics at a URL."""

    def count(metrics: str) -> int:
        pattern = r'^(?:stylewire_requests_total\{.*Stylize".*\}|stylewire_requests_in_flight) (\S+)$'
        with urllib.request.urlopen(metrics, timeout=60) as answer:
            found = re.findall(pattern, answer.read().decode(), re.MULTILINE)
        return sum(int(float(value)) for value in found)

    return count


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A shared server of the lite edition, which tests must not change. Its pictures do not depend on the load."""
    running = ServerProcess("--model", "lite", "--streams", "2", "--max-pixels", 2**22)
    yield running
    assert running.stop() == 0, "\n".join(running.log)


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of the shared server."""
    with Client(server.target, timeout=60) as client:
        yield client


class AwaitedClient:
    """An `AsyncClient` in its own event loop with the methods of a `Client`, so that one test runs with both."""

    def __init__(self, target: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._client = self._run(self._open(target, options))
        self.styles = _Awaited(self._client.styles, self._run)

    def __getattr__(self, name: str) -> Any:
        return getattr(_Awaited(self._client, self._run), name)

    def stylize_stream(self, *args: Any, **kwargs: Any) -> Iterator[Image.Image]:
        stream = self._client.stylize_stream(*args, **kwargs)
        try:
            while True:
                try:
                    yield self._run(anext(stream))
                except StopAsyncIteration:
                    return
        finally:
            self._run(stream.aclose())

    def close(self) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    async def _open(target: str, options: dict[str, Any]) -> AsyncClient:
        return AsyncClient(target, **options)

    def _run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result()


class _Awaited:
    def __init__(self, target: Any, run: Callable[[Any], Any]) -> None:
        self._target, self._run = target, run

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self._run(getattr(self._target, name)(*args, **kwargs))


@pytest.fixture(scope="session", params=[Client, AwaitedClient], ids=["Client", "AsyncClient"])
def open_client(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return a function that opens a client of either kind for a target. The caller closes it."""
    return request.param


@pytest.fixture
def either_client(server: ServerProcess, open_client: Callable[..., Any]) -> Iterator[Any]:
    """A client of the shared server, of either kind."""
    with closing(open_client(server.target, timeout=60)) as client:
        yield client


@pytest.fixture(scope="session")
def photo() -> Path:
    """A photograph, 512x512."""
    return EXAMPLES / "content" / "astronaut.jpg"


@pytest.fixture(scope="session")
def style_picture() -> Path:
    """A bold style."""
    return EXAMPLES / "style" / "waves.jpg"


@pytest.fixture(scope="session")
def other_style_picture() -> Path:
    """A style that is clearly different from the first."""
    return EXAMPLES / "style" / "shards.jpg"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test models and pictures beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: it holds the original model files and test pictures")
    return SHARED


CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a test picture.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


# Not of the whole session: while Playwright runs, asyncio.run() does not.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser: pip install playwright")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield running
        running.close()


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    """Return pixels as a file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def pixels_of(path: Path, side: int = 256) -> np.ndarray:
    """Return a picture file as uint8 [side,side,3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of a test run share."""
    base = tmp_path_factory.getbasetemp()
    # With pytest-xdist each process has a folder of its own in a common one.
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def made_once(common_folder: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that makes a folder once for all processes of a test run. Tests must not change it."""

    def make(name: str, fill: Fill) -> Path:
        folder = common_folder / f"made-once-{name}"
        with (common_folder / f"made-once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = Path(tempfile.mkdtemp(dir=common_folder))
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def long_form() -> bool:
    """True if the robustness tests run in their long form (`make soak`)."""
    return os.environ.get("STYLEWIRE_SOAK") == "1"


@pytest.fixture
def bucket(tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen]:
    """A bucket of a server that speaks S3; its address is in the environment."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    port = free_port()
    log = tmp_path / "s3.log"
    with log.open("w") as errors:
        running = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=errors, stderr=errors
        )
    until(lambda: "Running on" in log.read_text(), "the S3 server listens", 120)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("pictures")
    yield running
    running.kill()
    running.wait()
    s3fs.S3FileSystem.clear_instance_cache()


class Authority:
    """A certificate authority that writes certificates to files.

    Attributes:
        certificate: Its own, PEM.
    """

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(
            self._pem(self._certify("test authority", self._key.public_key(), -1, 30, ca=True))
        )

    def issue(self, name: str, *, days: int = 30, file: str | None = None) -> tuple[Path, Path]:
        """Certificate and key for that common name and for localhost; expired where days is negative."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        paths = self._folder / f"{file or name}.pem", self._folder / f"{file or name}.key"
        paths[0].write_bytes(self._pem(self._certify(name, key.public_key(), min(-1, days - 1), days)))
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        return paths

    def _certify(self, name: str, public: object, begins: int, ends: int, ca: bool = False) -> object:
        import datetime
        import ipaddress

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=begins))
            .not_valid_after(now + datetime.timedelta(days=ends))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            # The rest is what Python asks for from 3.13 on (RFC 5280).
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )

    @staticmethod
    def _pem(certificate: object) -> bytes:
        from cryptography.hazmat.primitives import serialization

        return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for the tests of a module. A certificate replaces one of the same file name."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def another_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that is not trusted."""
    return Authority(tmp_path_factory.mktemp("another"))


class Wire:
    """An HTTP/2 client that sends and receives single frames (RFC 9113), only as the test asks for."""

    def __init__(self, port: int, window: int = 65_535) -> None:
        """Take `window` bytes of each answer unless more are granted."""
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._send(0x4, 0, 0, struct.pack(">HI", 0x4, window))

    def _send(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        self._socket.sendall(struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body)

    def head(self, stream: int, method: str, timeout: str = "", **metadata: str) -> None:
        """Begin a call; timeout as gRPC writes it."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
            **({"grpc-timeout": timeout} if timeout else {}),
            **metadata,
        }
        # Literals without indexing (RFC 7541, 6.2.2).
        parts = [b"\0" + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode() for k, v in fields.items()]
        self._send(0x1, 0x4, stream, b"".join(parts))

    def message(self, stream: int, body: bytes, share: float = 1.0) -> None:
        """Send a call's only message of up to a frame's 16 kB, or that share of it."""
        whole = b"\0" + struct.pack(">I", len(body)) + body
        self._send(0x0, int(share == 1.0), stream, whole[: int(share * len(whole))])

    def begin_message(self, stream: int, length: int, sent: int) -> None:
        """Announce a message of that length, and send the first bytes of it in frames of 16 kB."""
        whole = b"\0" + struct.pack(">I", length) + bytes(sent)
        for at in range(0, len(whole), 16_384):
            self._send(0x0, 0, stream, whole[at : at + 16_384])

    def received(self, seconds: float = 0.5) -> list[tuple[int, int, bytes]]:
        """Return the frames that come in that time: type, stream, content."""
        data = b""
        self._socket.settimeout(seconds)
        with suppress(TimeoutError):
            while part := self._socket.recv(65_536):
                data += part
        frames = []
        while len(data) >= 9:
            length = int.from_bytes(data[:3])
            frames.append((data[3], int.from_bytes(data[5:9]), data[9 : 9 + length]))
            data = data[9 + length :]
        return frames

    def grant(self, stream: int, size: int) -> None:
        """Let the server send so many bytes more, and read what comes as long as there is any."""
        for number in (0, stream):
            self._send(0x8, 0, number, struct.pack(">I", size))
        self._socket.settimeout(0.5)
        with suppress(TimeoutError):
            while self._socket.recv(65_536):
                pass

    def cancel(self, stream: int) -> None:
        """End a call early (RFC 9113, 7: CANCEL)."""
        self._send(0x3, 0, stream, struct.pack(">I", 8))

    def vanish(self) -> None:
        """End the connection like a host that has crashed."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


@pytest.fixture(scope="session")
def open_wire() -> Callable[..., Wire]:
    """Open a connection to a local port whose frames the test writes."""
    return Wire
