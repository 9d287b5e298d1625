"""A video through the command line and StylizeStream."""

import hashlib
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence
from stylewire.__main__ import main
from stylewire.cli.steady import Steady
from stylewire_server.testing import until

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
    """Return the properties of a video that a player shows."""
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
    """The mean difference is at most 12 levels, from the codec. Another style differs by 40 or more."""
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


def write_film(path: Path, frames: list[np.ndarray], times: list[int], base: Fraction, **options: Any) -> None:
    """Write frames at those ticks, with a tone as FLAC sound where `sound` is given, and subtitles."""
    sound, subtitles = options.pop("sound", False), options.pop("subtitles", None)
    pix_fmt = options.pop("pix_fmt", "yuv420p")
    with av.open(str(path), "w") as target:
        video = target.add_stream(options.pop("codec", "libx264"), rate=25)
        height, width = frames[0].shape[:2]
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.time_base = video.codec_context.time_base = base
        tone = target.add_stream("aac", rate=48000) if sound else None
        words = None
        if subtitles is not None:
            with av.open(str(subtitles)) as text:
                words = target.add_stream_from_template(text.streams.subtitles[0])
                for packet in text.demux(text.streams.subtitles[0]):
                    if packet.dts is not None:
                        packet.stream = words
                        target.mux(packet)
        for pixels, pts in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts, base
            target.mux(video.encode(frame))
        target.mux(video.encode(None))
        if tone is not None:
            for start in range(0, 48000, 1024):
                wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None] * 0.2
                sounded = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                sounded.sample_rate, sounded.pts = 48000, start
                target.mux(tone.encode(sounded))
            target.mux(tone.encode(None))


def still(photo: Path, width: int, height: int) -> np.ndarray:
    with Image.open(photo) as image:
        return np.asarray(image.convert("RGB").resize((width, height)))


def ticks(path: Path) -> list[Fraction]:
    """The exact time of every frame in seconds."""
    with av.open(str(path)) as source:
        return [frame.pts * frame.time_base for frame in source.decode(video=0)]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(source.streams.get(**{kind: 0})) if packet.size]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_frame_rate_keeps_every_tick(
    server: Any, photo: Path, style_picture: Path, tmp_path: Path, suffix: str
) -> None:
    steps = [0, 1, 2, 5, 9, 10, 14, 15, 29, 30, 60, 61]
    base = Fraction(1, 15360) if suffix == ".mp4" else Fraction(1, 1000)
    path, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    times = [step * (617 if suffix == ".mp4" else 40) for step in steps]
    write_film(path, [still(photo, 96, 64)] * len(steps), times, base, sound=True)
    assert main(["--target", server.target, "video", str(path), "-o", str(out), "-s", str(style_picture)]) == 0
    assert ticks(out) == ticks(path)
    assert packets(out, "audio") == packets(path, "audio")


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p"])
def test_deep_colors_odd_sides_and_a_size(
    server: Any, photo: Path, style_picture: Path, tmp_path: Path, pix_fmt: str
) -> None:
    path, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    odd = (97, 65) if pix_fmt == "yuv444p" else (96, 64)
    write_film(path, [still(photo, *odd)] * 4, [0, 40, 80, 120], Fraction(1, 1000), pix_fmt=pix_fmt)
    command = ["--target", server.target, "video", str(path), "-o", str(out), "-s", str(style_picture)]
    assert main(command) == 0
    assert facts_of_pictures(out) == ((96, 64), 4)
    larger = tmp_path / "large.mp4"
    write_film(larger, [still(photo, 320, 200)] * 2, [0, 40], Fraction(1, 1000))
    assert main([*command[:3], str(larger), "-o", str(out), "-s", str(style_picture), "--size", "100"]) == 0
    assert facts_of_pictures(out) == ((160, 100), 2)


def facts_of_pictures(path: Path) -> tuple[tuple[int, int], int]:
    with av.open(str(path)) as source:
        frames = list(source.decode(video=0))
    return (frames[0].width, frames[0].height), len(frames)


def test_a_turned_video_comes_out_upright(server: Any, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    """A quarter turn, noted in the track header as phones do (ISO/IEC 14496-12, 8.3.2)."""
    path, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write_film(path, [still(photo, 96, 64)] * 3, [0, 512, 1024], Fraction(1, 15360))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30)
    path.write_bytes(data)
    with av.open(str(path)) as source:
        assert next(source.decode(video=0)).rotation in {90, -90, 270}
    assert main(["--target", server.target, "video", str(path), "-o", str(out), "-s", str(style_picture)]) == 0
    assert facts_of_pictures(out) == ((64, 96), 3)
    with av.open(str(out)) as source:
        assert next(source.decode(video=0)).rotation == 0


def test_subtitles_are_kept(server: Any, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    text = tmp_path / "in.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:00,080\nHello\n\n2\n00:00:00,080 --> 00:00:00,160\nWorld\n")
    path, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write_film(path, [still(photo, 96, 64)] * 5, [0, 40, 80, 120, 160], Fraction(1, 1000), subtitles=text, sound=True)
    assert main(["--target", server.target, "video", str(path), "-o", str(out), "-s", str(style_picture)]) == 0
    assert packets(out, "subtitles") == packets(path, "subtitles") == [b"Hello", b"World"]
    assert packets(out, "audio") == packets(path, "audio")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animations_go_in_and_out(server: Any, photo: Path, style_picture: Path, tmp_path: Path, suffix: str) -> None:
    path, out, film = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", tmp_path / "out.mp4"
    pictures = [Image.fromarray(np.roll(still(photo, 96, 64), 8 * step, 1)) for step in range(5)]
    durations = [50, 120, 70, 200, 90]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    assert main(["--target", server.target, "video", str(path), "-o", str(out), "-s", str(style_picture)]) == 0
    with Image.open(out) as image:
        assert (image.size, image.n_frames) == ((96, 64), 5)
        found = []
        for frame in ImageSequence.Iterator(image):
            frame.load()
            found.append(frame.info["duration"])
        assert found == durations
    assert main(["--target", server.target, "video", str(path), "-o", str(film), "-s", str(style_picture)]) == 0
    assert [float(time) for time in ticks(film)] == [0, 0.05, 0.17, 0.24, 0.44]
    assert main(["--target", server.target, "video", str(film), "-o", str(out), "-s", str(style_picture)]) == 0
    with Image.open(out) as image:
        assert image.n_frames == 5


def test_an_interrupt_keeps_a_playable_file(server: Any, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    # Frames that differ are many bytes, so that the first of them are soon in the file.
    frames = [np.roll(still(photo, 320, 240), 7 * number, 1) for number in range(400)]
    write_film(path, frames, [512 * n for n in range(400)], Fraction(1, 15360), sound=True)
    command = [sys.executable, "-m", "stylewire", "--target", server.target, "video", str(path), "-o", str(out)]
    process = subprocess.Popen([*command, "-s", str(style_picture)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    part = tmp_path / f".out.{process.pid}.part.mp4"
    until(lambda: process.poll() is not None or (part.exists() and part.stat().st_size > 50_000), "the film has begun")
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=120)
    assert process.returncode == 130, complaints
    assert b"and the rest is missing: interrupted" in said
    (width, height), count = facts_of_pictures(out)
    assert (width, height) == (320, 240)
    assert 0 < count < 400
    assert f"{count} frames" in said.decode()
    assert packets(out, "audio")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize("pan", [0, 3])
def test_steady_takes_flicker_from_what_stands_still_or_moves_along(
    client: Any, photo: Path, style_picture: Path, pan: int
) -> None:
    """A scene with a camera's noise that stands still, or moves by 3 pixels a frame, and a square that goes its way.

    Flicker is the mean change along the true motion.
    """
    pytest.importorskip("cv2")
    rng = np.random.default_rng(7)
    scene = still(photo, 320, 240).astype(int)
    contents = []
    for step in range(8):
        part = scene[60:188, pan * step : pan * step + 192]
        frame = np.clip(part + rng.normal(0, 2, part.shape), 0, 255).astype(np.uint8)
        frame[40:60, 10 + 12 * step : 30 + 12 * step] = (255, 0, 0)
        contents.append(frame)
    steady = Steady(0.5)
    plain = list(client.stylize_stream(contents, style_picture, fit="native"))
    calm = [steady.blend(frame, picture) for frame, picture in zip(contents, plain, strict=True)]

    def flicker(pictures: list[Image.Image]) -> float:
        frames = [np.asarray(picture, float)[80:-8] for picture in pictures]
        width = 192 - pan - 16
        return float(
            np.mean(
                [
                    np.abs(after[:, 8 : 8 + width] - before[:, 8 + pan : 8 + pan + width]).mean()
                    for before, after in pairwise(frames)
                ]
            )
        )

    assert flicker(calm) < 0.7 * flicker(plain)
    # What goes its own way is not smeared: the square's new place shows the plain picture.
    ahead = (slice(45, 55), slice(106, 112))
    moved = np.abs(np.asarray(calm[-1], float)[ahead] - np.asarray(plain[-1], float)[ahead]).mean()
    assert moved < 0.5 * np.abs(np.asarray(plain[-2], float)[ahead] - np.asarray(plain[-1], float)[ahead]).mean()
