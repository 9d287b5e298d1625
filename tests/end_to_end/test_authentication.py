"""Bearer tokens, through a real socket."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from stylewire import AsyncClient, Client, ServerBusy, Unauthenticated
from stylewire.oip import open_inference_pb2 as oip
from stylewire.oip import open_inference_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.admission.tokens import new_token
from stylewire_server.testing import until


class Guarded(NamedTuple):
    server: object
    file: Path
    token: str
    entry: str
    slow: str


@pytest.fixture(scope="module")
def guarded(start_server, tmp_path_factory) -> Iterator[Guarded]:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    (token, entry), (slow, slow_entry) = new_token("alice"), new_token("slow", rate=0.01)
    file.write_text(f"{entry}\n{slow_entry}\n")
    running = start_server("--tokens", file, "--channelz", "--model", "lite")
    yield Guarded(running, file, token, entry, slow)
    assert running.stop() == 0


def test_the_token_lets_in(guarded: Guarded, photo: Path, style_picture: Path) -> None:
    with Client(guarded.server.target, timeout=60, token=guarded.token) as client:
        assert client.stylize(photo, style_picture).size == (256, 256)


def test_the_token_comes_from_the_environment(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEWIRE_TOKEN", guarded.token)
    with Client(guarded.server.target, timeout=20) as client:
        assert client.model().edition == "lite"


def test_the_asyncio_client_carries_it_on_calls_and_streams(guarded: Guarded, photo: Path, style_picture: Path) -> None:
    async def main() -> None:
        async with AsyncClient(guarded.server.target, timeout=60, token=guarded.token) as client:
            assert (await client.model()).edition == "lite"
            frames = [frame async for frame in client.stylize_stream([photo, photo], style_picture)]
            assert [frame.size for frame in frames] == [(256, 256)] * 2

    asyncio.run(main())


def test_a_stream_carries_it(guarded: Guarded, photo: Path, style_picture: Path) -> None:
    with Client(guarded.server.target, timeout=60, token=guarded.token) as client:
        frames = list(client.stylize_stream([photo, photo], style_picture))
    assert [frame.size for frame in frames] == [(256, 256)] * 2


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", "Bearer ")],
        [("authorization", "Basic {token}")],
        [("authorization", "{token}")],
        [("authorization", "Bearer {token}x")],
        [("token", "{token}")],
    ],
    ids=str,
)
def test_without_the_right_token_nothing_but_health_is_open(guarded: Guarded, metadata: list) -> None:
    sent = [(key, value.format(token=guarded.token)) for key, value in metadata]
    with grpc.insecure_channel(guarded.server.target) as channel:
        calls = [
            lambda: stylizer_pb2_grpc.StylizerStub(channel).Stylize(pb.StylizeRequest(), metadata=sent, timeout=20),
            lambda: stylizer_pb2_grpc.StylizerStub(channel).GetModel(pb.GetModelRequest(), metadata=sent, timeout=20),
            lambda: list(
                stylizer_pb2_grpc.StylizerStub(channel).StylizeStream(
                    iter([pb.StylizeStreamRequest()]), metadata=sent, timeout=20
                )
            ),
            lambda: open_inference_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(
                oip.ServerLiveRequest(), metadata=sent, timeout=20
            ),
            lambda: list(
                reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                    iter([reflection_pb2.ServerReflectionRequest(list_services="")]), metadata=sent, timeout=20
                )
            ),
            lambda: channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")(b"", metadata=sent, timeout=20),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_the_client_raises_its_own_error(guarded: Guarded) -> None:
    with Client(guarded.server.target, timeout=20, token="wrong") as client, pytest.raises(Unauthenticated):
        client.model()


def test_a_wrong_token_is_refused_before_the_picture_is_sent(guarded: Guarded) -> None:
    """The call is answered though its message never ends."""
    import threading

    never = threading.Event()

    def requests() -> Iterator[bytes]:
        never.wait(30)
        yield b""

    with grpc.insecure_channel(guarded.server.target) as channel:
        call = channel.stream_unary("/stylewire.v1.Stylizer/Stylize").future(requests(), timeout=20)
        assert call.exception(20).code() is grpc.StatusCode.UNAUTHENTICATED
        assert not never.is_set()
        never.set()


def test_a_rate_that_is_used_up_says_when_to_come_back(guarded: Guarded) -> None:
    with grpc.insecure_channel(guarded.server.target, [("grpc.enable_retries", 0)]) as channel:
        metadata = [("authorization", f"Bearer {guarded.slow}")]
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        stub.GetModel(pb.GetModelRequest(), metadata=metadata, timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetModel(pb.GetModelRequest(), metadata=metadata, timeout=20)
    from stylewire.errors import from_rpc_error

    error = from_rpc_error(caught.value, "")
    assert isinstance(error, ServerBusy)
    assert "slow has used up its rate; the limit is 0.01 calls a second" in str(error)
    assert error.retry_after is not None and 1 < error.retry_after <= 100


def test_a_client_hears_of_a_long_wait_at_once_and_does_not_sit_through_it(guarded: Guarded) -> None:
    with (
        Client(guarded.server.target, timeout=20, token=guarded.slow) as client,
        pytest.raises(ServerBusy, match="slow has used up its rate"),
    ):
        for _ in range(2):
            client.model()


def test_sighup_takes_tokens_in_and_away(guarded: Guarded) -> None:
    before = guarded.file.read_text()
    fresh, entry = new_token("fresh")

    def reload(text: str) -> None:
        guarded.file.write_text(text)
        seen = sum("tokens reloaded" in line for line in guarded.server.log)
        guarded.server.process.send_signal(signal.SIGHUP)
        until(lambda: sum("tokens reloaded" in line for line in guarded.server.log) > seen, "tokens are reloaded")

    with Client(guarded.server.target, timeout=20, token=fresh) as client:
        with pytest.raises(Unauthenticated):
            client.model()
        reload(f"{before}{entry}\n")
        assert client.model().edition == "lite"
        reload(before)
        with pytest.raises(Unauthenticated):
            client.model()


def test_the_log_names_the_account_and_no_secret(guarded: Guarded) -> None:
    with Client(guarded.server.target, timeout=20, token=guarded.token) as client:
        client.model()
    until(lambda: any("caller=alice" in line for line in guarded.server.log), "the log names the account")
    text = "\n".join(guarded.server.log)
    for secret in (guarded.token, guarded.slow, guarded.entry.split("sha256:")[1], str(guarded.file)):
        assert secret not in text


def test_the_probe_needs_no_token_and_says_how_it_is(guarded: Guarded) -> None:
    def probe(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stylewire_server", "health", "--timeout", "10", *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    well = probe("--target", guarded.server.target, "--service", "stylewire.v1.Stylizer")
    assert (well.returncode, well.stdout) == (0, "SERVING\n")
    unknown = probe("--target", guarded.server.target, "--service", "no.such.Service")
    assert unknown.returncode == 1 and unknown.stdout.startswith("NOT_FOUND")
    nobody = probe("--target", "127.0.0.1:1")
    assert nobody.returncode == 1 and nobody.stdout.startswith("UNAVAILABLE")
