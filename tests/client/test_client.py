"""The client's errors, targets and one-liner, against a real server."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
import stylewire
from PIL import Image
from stylewire import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    StylewireError,
    Tls,
    Unavailable,
)


def test_one_line(server, photo: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEWIRE_TARGET", server.target)
    assert stylewire.stylize(photo, style_picture).size == (256, 256)
    assert stylewire.stylize(photo, style_picture, target=server.target, fit="native").size == (512, 512)


def test_a_given_channel_is_used_and_left_open(server, photo: Path, style_picture: Path) -> None:
    with grpc.insecure_channel(server.target) as channel:
        for _ in range(2):
            with Client(channel=channel) as client:
                assert client.stylize(photo, style_picture).size == (256, 256)


def test_invalid_images_and_requests(client: Client, photo: Path, style_picture: Path) -> None:
    with pytest.raises(InvalidImage, match="not a JPEG, PNG or WebP") as caught:
        client.stylize(b"no picture", style_picture)
    assert caught.value.field == "content"
    with pytest.raises(InvalidImage, match=r"styles\[1\]") as caught:
        client.stylize(photo, [style_picture, b"no picture"])
    with pytest.raises(InvalidRequest, match="strength is 2") as wrong:
        client.stylize(photo, style_picture, strength=2)
    assert not isinstance(wrong.value, InvalidImage)
    assert wrong.value.field == "options.strength"
    assert isinstance(wrong.value, ValueError)


def test_a_message_above_the_limit_is_told_apart_from_a_busy_server(client: Client, style_picture: Path) -> None:
    raw = np.zeros((2048, 2048, 3), np.uint8)
    with pytest.raises(InvalidRequest, match="too large"):
        client.stylize(raw, [raw] * 6)


def test_deadline(client: Client, photo: Path, style_picture: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        client.stylize(photo, style_picture, timeout=0.001)
    assert client.stylize(photo, style_picture, timeout=float("inf")).size == (256, 256)
    assert isinstance(DeadlineExceeded(), TimeoutError)


def test_a_server_that_says_nothing_is_named(photo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(target) as client, pytest.raises(DeadlineExceeded, match=f"no answer from {target} within 0.3 s"):
            client.stylize(photo, photo, timeout=0.3)


def test_no_server_there(photo: Path, style_picture: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(target, timeout=1) as client, pytest.raises(Unavailable, match=f"{target} within 1 s") as caught:
            client.stylize(photo, style_picture)
        assert "to start one: stylewire-server serve" in str(caught.value)
        with Client(target, wait_for_ready=False) as client, pytest.raises(Unavailable, match=target) as caught:
            client.stylize(photo, style_picture)
        assert "to start one: stylewire-server serve" in str(caught.value)
    assert isinstance(caught.value, StylewireError)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stylewire", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("suffix", "form"), [(".png", "PNG"), (".jpg", "JPEG"), (".webp", "WEBP")])
def test_the_command_line_writes_a_picture(
    server, photo: Path, style_picture: Path, tmp_path: Path, suffix: str, form: str
) -> None:
    out = tmp_path / f"result{suffix}"
    done = run("--target", server.target, "stylize", str(photo), str(style_picture), "-o", str(out))
    assert done.returncode == 0, done.stderr
    with Image.open(out) as image:
        assert (image.format, image.size) == (form, (256, 256))


def test_the_command_line_shows_the_model(server) -> None:
    done = run("--target", server.target, "model")
    assert done.returncode == 0
    assert "lite" in done.stdout


def test_the_command_line_fails_in_one_line(server, photo: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "result.png")
    done = run("--target", server.target, "stylize", str(photo), str(tmp_path / "none.jpg"), "-o", out)
    assert done.returncode == 1
    assert "none.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("--target", server.target, "stylize", str(photo), str(photo), "-o", str(tmp_path / "result.tiff"))
    assert done.returncode == 2
    assert ".tiff" in done.stderr


def test_what_cannot_be_meant_is_refused_at_once(authority, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has a certificate and no key"):
        Tls(certificate=authority.certificate)
    with pytest.raises(ValueError, match="has a key and no certificate"):
        Tls(key=authority.certificate)
    for timeout in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidRequest, match=f"timeout is {timeout} s; it must be above 0 s"):
            Client(timeout=timeout)
    with pytest.raises(InvalidRequest, match="the token has a character") as caught:
        Client(token="secret\x00")
    assert "secret" not in str(caught.value)
    with grpc.insecure_channel("localhost:1") as channel, pytest.raises(ValueError, match="a channel carries its own"):
        Client(channel=channel, token="secret")


def test_an_asyncio_client_may_be_made_before_its_loop(server) -> None:
    client = AsyncClient(server.target)

    async def edition() -> str:
        return (await client.model()).edition

    async def close() -> None:
        await client.close()
        with pytest.raises(StylewireError, match="the client is closed"):
            await client.model()

    with asyncio.Runner() as first:
        assert first.run(edition()) == "lite"
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="the event loop of its first call"):
            second.run(edition())
        first.run(close())


def test_the_names_that_the_package_offers() -> None:
    """A name that is added or dropped here is a change that users notice."""
    assert stylewire.__all__ == sorted(stylewire.__all__)
    assert set(stylewire.__all__) == {
        *("AsyncClient", "AsyncStyles", "Client", "Styles", "stylize"),
        *("Encoding", "Fit", "ImageLike", "Options", "StyleLike", "TargetLike", "Tls", "WeightedStyle"),
        *("Style", "Stylized", "Timings"),
        *("StylewireError", "InvalidRequest", "InvalidImage", "StyleNotFound", "StyleExists", "ServerBusy"),
        *("DeadlineExceeded", "Unavailable", "Unauthenticated", "ServerError", "UnusableClient"),
    }
    for kind in (Client, AsyncClient, stylewire.Styles, stylewire.AsyncStyles):
        assert all(value.__doc__ for name, value in vars(kind).items() if not name.startswith("_"))
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {"close", "model", "styles", "stylize", "stylize_detailed", "stylize_stream", "target"}


def test_the_tree_in_the_module_is_the_tree_of_the_classes() -> None:
    errors = stylewire.errors
    shown = {
        word.strip("├└│─ ") for line in (errors.__doc__ or "").splitlines() for word in line.split(" (")[0].split()
    }
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, StylewireError)}
    assert kinds <= shown


def test_a_client_that_is_closed_or_forked_says_so(server, photo: Path, style_picture: Path) -> None:
    client = Client(server.target)
    client.model()
    child = os.fork()
    if not child:
        try:
            client.model()
        except StylewireError as error:
            os._exit(0 if "cannot be used after a fork" in str(error) else 2)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.model().edition == "lite"
    client.close()
    with pytest.raises(StylewireError, match="the client is closed; make a new one"):
        client.stylize(photo, style_picture)
    with pytest.raises(StylewireError, match="the client is closed"):
        next(client.stylize_stream([photo], style_picture))


def test_a_result_is_short_to_print_and_shows_itself_in_a_notebook(
    client: Client, photo: Path, style_picture: Path
) -> None:
    for encoding, png, jpeg in (
        ("png", True, False),
        ("jpeg", False, True),
        ("webp", True, False),
        ("raw", True, False),
    ):
        result = client.stylize_detailed(photo, style_picture, encoding=encoding)
        assert len(repr(result)) < 200
        assert f"encoding='{encoding}'" in repr(result)
        assert bool((result._repr_png_() or b"").startswith(b"\x89PNG")) is png
        assert bool((result._repr_jpeg_() or b"").startswith(b"\xff\xd8")) is jpeg
