"""The example clients in other languages, run as their readers would run them: over TLS, with a token."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.rpc import status_pb2
from PIL import Image
from stylewire_server.admission.tokens import new_token
from stylewire_server.testing import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "examples" / "clients"
ARGUMENTS = [str(ROOT / "examples" / "content" / "coffee.jpg"), str(ROOT / "examples" / "style" / "waves.jpg")]

DEBIAN_GO = Path("/usr/share/gocode/src")
"""Folder of the sources of Debian's golang-*-dev packages."""

DEBIAN_JARS = Path("/usr/share/java")
JAVA_PACKAGES = (
    "protobuf-compiler-grpc-java-plugin libgrpc-java libnetty-java libnetty-tcnative-java libperfmark-java "
    "libgeronimo-annotation-1.3-spec-java"
)
JARS = (
    *(f"grpc-{name}" for name in ("api", "context", "core", "netty", "protobuf", "protobuf-lite", "stub")),
    *(f"netty-{name}" for name in ("buffer", "codec", "codec-http", "codec-http2", "codec-socks", "common", "handler")),
    *(f"netty-{name}" for name in ("handler-proxy", "resolver", "tcnative", "transport")),
    *("error-prone-annotations", "geronimo-annotation-1.3-spec", "guava", "jctools-core", "perfmark-api", "protobuf"),
)
"""What the Java client needs of those packages."""

QUICK_JAVA = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options with which a short run of Java takes half the CPU time."""


def run(command: list[str], folder: Path, env: dict[str, str] | None = None) -> str:
    """Return the output of a command. A failure shows its error output."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def guarded(authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server with TLS and one token, as the environment that the example clients read."""
    folder = tmp_path_factory.mktemp("guarded")
    token, entry = new_token("example", None)
    (folder / "tokens").write_text(entry + "\n")
    (folder / "tokens").chmod(0o600)
    certificate, key = authority.issue("server")
    server = ServerProcess(
        "--model", "lite", "--http-port", 0, "--tls-cert", certificate, "--tls-key", key, "--tokens", folder / "tokens",
        "--data-dir", folder / "styles",
    )  # fmt: skip
    yield {
        "STYLEWIRE_URL": re.search(r"http=(\S+?)/?$", server.banner)[1].replace("127.0.0.1", "localhost"),
        "STYLEWIRE_TARGET": f"localhost:{server.port}",
        "STYLEWIRE_CA": str(authority.certificate),
        "STYLEWIRE_TOKEN": token,
    }
    assert server.stop() == 0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs the Node client in a copy of its folder, with its packages installed there."""
    if shutil.which("npm") is None:
        pytest.skip("no npm: Node.js is needed for this client")
    # The script finds the contract beside the examples.
    root = tmp_path_factory.mktemp("node")
    shutil.copytree(ROOT / "proto", root / "proto")
    folder = shutil.copytree(
        CLIENTS / "node", root / "examples" / "clients" / "node", ignore=shutil.ignore_patterns("node_modules")
    )
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=240)
    if done.returncode:
        pytest.skip(f"npm cannot install the packages: {done.stderr[-200:]}")
    return lambda out, env: run(["node", "stylize.mjs", *ARGUMENTS, str(out)], folder, env)


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Builds the Go client from Debian's packages and runs it."""
    needed = [DEBIAN_GO / name for name in ("google.golang.org/grpc", "google.golang.org/protobuf")]
    tools = [shutil.which(name) for name in ("go", "protoc", "protoc-gen-go-grpc")]
    if not all(tools) or not all(path.is_dir() for path in needed):
        pytest.skip(
            "no Go with gRPC: apt install golang-go protobuf-compiler protoc-gen-go-grpc golang-google-grpc-dev"
        )
    work = tmp_path_factory.mktemp("go")
    # Go's own cache of compiled packages is kept from run to run: gRPC takes most of a minute.
    env = {"GO111MODULE": "off", "GOPATH": f"{work}:{DEBIAN_GO.parent}"}
    plugin, binary, source = work / "protoc-gen-go", work / "stylize", work / "src"
    source.mkdir()
    run(["go", "build", "-o", str(plugin), "google.golang.org/protobuf/cmd/protoc-gen-go"], work, env)
    stubs = [f"--plugin={plugin}", f"--go_out={source}", f"--go-grpc_out={source}", "stylewire/v1/stylizer.proto"]
    run(["protoc", f"--proto_path={ROOT / 'proto'}", *stubs], work)
    run(["go", "build", "-tags", "debian", "-o", str(binary), "."], CLIENTS / "go", env)
    return lambda out, env: run([str(binary), *ARGUMENTS, str(out)], work, env)


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Builds the Java client from Debian's packages and runs it."""
    tools = [shutil.which(name) for name in ("java", "javac", "protoc", "grpc_java_plugin")]
    jars = [DEBIAN_JARS / f"{name}.jar" for name in JARS]
    native = next(Path("/usr/lib").glob("*/jni/libnetty-tcnative.so"), None)
    if not all(tools) or not all(path.is_file() for path in jars) or native is None:
        pytest.skip("no Java with gRPC: apt install openjdk-17-jdk-headless protobuf-compiler " + JAVA_PACKAGES)
    work = tmp_path_factory.mktemp("java")
    source, classes = work / "src", work / "classes"
    source.mkdir()
    # The protos of an error's details are in googleapis-common-protos.
    paths = [f"--proto_path={ROOT / 'proto'}", f"--proto_path={Path(status_pb2.__file__).parents[2]}"]
    stubs = [f"--plugin=protoc-gen-grpc-java={tools[-1]}", f"--java_out={source}", f"--grpc-java_out={source}"]
    protos = ["stylewire/v1/stylizer.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"]
    run(["protoc", *paths, *stubs, *protos], work)
    files = [str(path) for path in (*source.rglob("*.java"), CLIENTS / "java" / "Stylize.java")]
    class_path = ":".join(map(str, (classes, *jars)))
    # Debian's Netty has TLS with ALPN in this library only, and looks for it under another name.
    shutil.copy(native, work / "libnetty_tcnative.so")
    run(
        ["javac", *(f"-J{option}" for option in QUICK_JAVA), "-nowarn", "-cp", class_path, "-d", str(classes), *files],
        work,
    )
    command = ["java", *QUICK_JAVA, f"-Djava.library.path={work}", "-cp", class_path, "Stylize", *ARGUMENTS]
    return lambda out, env: run([*command, str(out)], work, env)


@pytest.fixture(scope="module")
def shell() -> Callable[..., str]:
    """Runs the shell client."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    return lambda out, env: run(["sh", str(CLIENTS / "shell" / "stylize.sh"), *ARGUMENTS, str(out)], ROOT, env)


@pytest.mark.parametrize("language", ["node", "go", "java", "shell"])
def test_each_example_client_does_all_it_shows(
    language: str, guarded: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    printed = request.getfixturevalue(language)(tmp_path, guarded).lower()
    assert "frames 20" in printed
    assert re.search(r"^deadline .*deadline", printed, re.MULTILINE)
    assert "cancel cancel" in printed
    assert "options.strength" in printed and "from 0 to 1" in printed
    for name in ("named", "blend"):
        with Image.open(tmp_path / f"{name}.jpg") as picture:
            assert picture.convert("L").getextrema() > (0, 0)
    assert (tmp_path / "named.jpg").read_bytes() != (tmp_path / "blend.jpg").read_bytes()
