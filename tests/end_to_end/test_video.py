"""A video through the command line and StylizeStream."""

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from stylewire.__main__ import main

RATE = Fraction(30000, 1001)
COUNT = 75


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """75 frames of a picture that brightens, with a tone."""
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    with Image.open(photo) as image:
        still = np.asarray(image.convert("RGB").resize((160, 120)), np.float32)
    with av.open(str(path), "w") as target:
        video = target.add_stream("h264", rate=RATE)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        audio = target.add_stream("aac", rate=44100)
        for number in range(COUNT):
            pixels = (still * (0.3 + 0.7 * number / COUNT)).astype(np.uint8)
            target.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(video.encode(None))
        tone = np.sin(np.arange(int(44100 * COUNT / RATE)) * 2 * np.pi * 440 / 44100).astype(np.float32) * 0.3
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
    return path


def facts(path: Path) -> dict[str, Any]:
    """What a player sees."""
    with av.open(str(path)) as source:
        times = [frame.time for frame in source.decode(video=0)]
    with av.open(str(path)) as source:
        sound = [bytes(packet) for packet in source.demux(audio=0) if packet.dts is not None]
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        return {
            "rate": video.average_rate,
            "size": (video.width, video.height),
            "times": [round(time, 4) for time in times],
            "sound": hashlib.sha256(b"".join(sound)).hexdigest(),
        }


def test_frames_rate_and_sound_stay(server: Any, film: Path, style_picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert main(["--target", server.target, "video", str(film), "-o", str(out), "--style", str(style_picture)]) == 0
    before, after = facts(film), facts(out)
    assert len(after["times"]) == COUNT
    assert after == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_frames_are_those_of_single_pictures_and_in_order(
    server: Any, client: Any, film: Path, style_picture: Path, tmp_path: Path
) -> None:
    """At most 12 levels of mean difference, which the codec makes; another style is 40 and more away."""
    out = tmp_path / "out.mkv"
    assert main(["--target", server.target, "video", str(film), "-o", str(out), "-s", str(style_picture)]) == 0
    with av.open(str(film)) as source, av.open(str(out)) as result:
        pairs = list(zip(source.decode(video=0), result.decode(video=0), strict=True))
    for number in (0, 30, COUNT - 1):
        frame, styled = (frame.to_ndarray(format="rgb24") for frame in pairs[number])
        wanted = np.asarray(client.stylize(frame, style_picture, fit="native"), int)
        assert np.abs(styled - wanted).mean() < 12


def test_a_file_that_is_no_video_is_one_line(
    server: Any, style_picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in (("text.mp4", b"no video"), ("gone.mp4", None)):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        out = tmp_path / "out.mp4"
        assert main(["--target", server.target, "video", str(path), "-o", str(out), "-s", str(style_picture)]) == 1
        complaints = capsys.readouterr().err
        assert name in complaints
        assert complaints.count("\n") == 1
        assert not out.exists()


def test_a_video_is_not_written_onto_itself(server: Any, film: Path, style_picture: Path) -> None:
    before = film.read_bytes()
    assert main(["--target", server.target, "video", str(film), "-o", str(film), "-s", str(style_picture)]) == 2
    assert film.read_bytes() == before
