"""`stylewire stylize` with URLs: pictures in an S3-compatible bucket."""

from pathlib import Path
from typing import Any

import pytest
from stylewire import Client
from stylewire.cli.main import main

upath = pytest.importorskip("upath", reason="universal-pathlib is not installed: pip install 'stylewire[remote]'")


@pytest.fixture
def photos(bucket: Any, photo: Path) -> Any:
    folder = upath.UPath("s3://pictures/photos")
    (folder / "one.jpg").write_bytes(photo.read_bytes())
    (folder / "deep" / "two.jpg").write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_in_a_bucket_goes_into_a_bucket(
    server: Any, photos: Any, photo: Path, style_picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(server.target, timeout=60) as client:
        expected = client.stylize_detailed(photo, style_picture, encoding="jpeg").data
    arguments = ["--target", server.target, "--timeout", "60", "stylize", str(photos), str(style_picture)]
    arguments += ["-o", "s3://pictures/out"]
    assert main(arguments) == 0
    out = upath.UPath("s3://pictures/out")
    assert sorted(str(path) for path in out.rglob("*.jpg")) == [
        "s3://pictures/out/deep/two.jpg",
        "s3://pictures/out/one.jpg",
    ]
    assert (out / "one.jpg").read_bytes() == expected
    told = capsys.readouterr().out
    assert "notes.txt: skipped, not a picture" in told
    assert "2 stylized, 1 skipped, 0 failed" in told
    assert main([*arguments, "--skip-existing"]) == 0
    assert "0 stylized, 3 skipped" in capsys.readouterr().out


def test_one_remote_picture_becomes_a_file_here(
    server: Any, photos: Any, style_picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["--target", server.target, "--timeout", "60", "stylize"]
    out = tmp_path / "out.png"
    assert main([*start, f"{photos}/one.jpg", str(style_picture), "-o", str(out)]) == 0
    assert out.stat().st_size > 1000
    capsys.readouterr()
    assert main([*start, f"{photos}/none.jpg", str(style_picture), "-o", str(out)]) == 1
    assert "none.jpg" in capsys.readouterr().err
    assert main([*start, f"{photos}/one.jpg", str(style_picture), "-o", f"{photos}/one.jpg"]) == 2
    assert "write to another one" in capsys.readouterr().err
    assert main([*start, "nosuch://pictures/one.jpg", str(style_picture), "-o", str(out)]) == 2
    assert "nosuch" in capsys.readouterr().err
