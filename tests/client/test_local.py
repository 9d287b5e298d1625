"""`--local`: pictures without a server, computed in the process of the command line."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stylewire import Client, InvalidImage, InvalidRequest, StyleExists, StyleNotFound
from stylewire.__main__ import main
from stylewire_server.local import LocalChannel


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client of the service in this process, with its own named styles and cached graphs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STYLEWIRE_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("STYLEWIRE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Client(channel=LocalChannel(), timeout=60)


def test_the_pictures_are_those_of_a_server(local: Client, client: Client, photo: Path, style_picture: Path) -> None:
    for options in ({"encoding": "png"}, {"encoding": "raw", "fit": "keep", "size": 300, "strength": 0.5}):
        here = local.stylize_detailed(photo, style_picture, **options)  # type: ignore[arg-type]
        there = client.stylize_detailed(photo, style_picture, **options)  # type: ignore[arg-type]
        assert (here.width, here.height, here.encoding, here.model) == (
            there.width,
            there.height,
            there.encoding,
            there.model,
        )
        assert np.abs(np.asarray(here.image, int) - np.asarray(there.image, int)).max() <= 1
    frames = list(local.stylize_stream([photo] * 3, style_picture))
    assert [frame.size for frame in frames] == [(256, 256)] * 3


def test_named_styles_and_errors_are_those_of_a_server(local: Client, photo: Path, style_picture: Path) -> None:
    assert local.styles.create("wave", style_picture).name == "wave"
    assert "wave" in [style.name for style in local.styles.list()]
    assert local.stylize(photo, "wave").size == (256, 256)
    with pytest.raises(StyleExists):
        local.styles.create("wave", style_picture)
    again = local.styles.import_file("wave-two", local.styles.export_file("wave"))
    assert again.thumbnail.size == local.styles.get("wave").thumbnail.size
    for name in ("wave", "wave-two"):
        local.styles.delete(name)
    with pytest.raises(StyleNotFound, match="wave"):
        local.stylize(photo, "wave")
    with pytest.raises(InvalidImage, match="content is not a JPEG") as caught:
        local.stylize(b"no picture", style_picture)
    assert caught.value.field == "content"
    with pytest.raises(InvalidImage, match="frame 1: content is not a JPEG"):
        list(local.stylize_stream([photo, b"no picture"], style_picture))
    with pytest.raises(InvalidRequest, match="fit is native"):
        local.stylize(photo, style_picture, fit="native", size=300)
    assert local.model().edition == "lite"


def test_the_command_line_does_without_a_server(
    photo: Path, style_picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs in its own process if nothing listens at the default target, else with the flag."""
    with socket.socket() as probe:
        busy = probe.connect_ex(("127.0.0.1", 50051)) == 0
    out = tmp_path / "out.jpg"
    environment = {key: value for key, value in os.environ.items() if key != "STYLEWIRE_TARGET"}
    environment["STYLEWIRE_CACHE"] = str(tmp_path / "cache")
    flags = ["--local"] if busy else []
    command = [sys.executable, "-m", "stylewire", *flags, "stylize", str(photo), str(style_picture), "-o", str(out)]
    results = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}: 256x256 px by lite\n", "")
        with Image.open(out) as image:
            assert image.size == (256, 256)
        results.append(out.read_bytes())
    # The second run finds the graphs that the first one compiled.
    assert len(list((tmp_path / "cache" / "compiled").iterdir())) == 2
    assert results[0] == results[1]
    assert main(["--local", "--target", "127.0.0.1:1", "model"]) == 2
    assert "leave out --target" in capsys.readouterr().err


def test_without_the_server_s_packages_the_error_says_what_to_do(photo: Path, tmp_path: Path) -> None:
    """The command runs in a process that cannot import OpenVINO."""
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from stylewire.__main__ import main\n"
        f"sys.exit(main(['--local', 'stylize', {str(photo)!r}, {str(photo)!r}, '-o', {str(tmp_path / 'x.jpg')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "--local needs the server's packages" in done.stderr
    assert "pip install 'stylewire[server]'" in done.stderr


def test_a_target_that_does_not_answer_is_told_at_once(capsys: pytest.CaptureFixture[str], photo: Path) -> None:
    """The timeout of a call is 30 s; nothing waits for it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["--target", target, "stylize", str(photo), "wave", "-o", "x.jpg"]) == 1
    complaint: Any = capsys.readouterr().err
    assert f"no server answers at {target}" in complaint
    assert "to start one: stylewire-server serve" in complaint
