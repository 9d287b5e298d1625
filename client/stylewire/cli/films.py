"""Reading and writing frames with their times: videos (PyAV) and animations (Pillow)."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image, ImageSequence

from ..pictures import PixelArray
from .shared import CommandFailed, UsageError

if TYPE_CHECKING:
    import av

ANIMATIONS = {".gif": "GIF", ".webp": "WEBP"}
"""Suffix of an animation -> its format in Pillow."""

_BT709 = 1
"""The value of AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic (ITU-T H.273) that players assume."""

_CRF = "18"
"""Constant rate factor of x264. At the default of 23, the dense texture of a style shows artifacts."""

_MILLISECOND = Fraction(1, 1000)

_ANIMATION_PIXELS = 2**28
"""Maximum pixels of all frames of a written animation: 800 MB of memory, because Pillow takes all frames at once."""


@dataclass(frozen=True)
class Frame:
    """A frame: pixels of mode RGB, its time in ticks of `time_base` seconds, and its duration in seconds."""

    pixels: Image.Image | PixelArray
    pts: int
    time_base: Fraction
    seconds: float


class Source(Protocol):
    """A reader of frames.

    Attributes:
        total: Number of frames; None if it is not known.
        rate: Average frames per second.
        time_base: Seconds of one tick.
    """

    total: int | None
    rate: Fraction
    time_base: Fraction

    def frames(self) -> Iterator[Frame]:
        """Yield the frames, turned upright."""


class Target(Protocol):
    """A writer of frames."""

    def add(self, picture: Image.Image, frame: Frame) -> None:
        """Write a picture at the time of a frame."""

    def finish(self, complete: bool) -> None:
        """Write the rest, so that the file can be played.

        Args:
            complete: True if all frames were added. Sound after the last frame is then copied too.
        """


def open_source(path: Path, files: ExitStack) -> Source:
    """Open a video, or an animated GIF or WebP file."""
    return _Animation(path, files) if path.suffix.lower() in ANIMATIONS else _Video(path, files)


def open_target(path: Path, out: Path, source: Source, content: Path, files: ExitStack) -> Target:
    """Open a file to write.

    Args:
        path: The temporary file.
        out: The final name of the file. Its suffix decides the format.
        source: The reader of the frames.
        content: The file of the source, for its sound and subtitles.
        files: Closes the opened files.
    """
    if out.suffix.lower() in ANIMATIONS:
        return _AnimationTarget(path, ANIMATIONS[out.suffix.lower()])
    return _VideoTarget(path, out, source, content if isinstance(source, _Video) else None, files)


class _Video:
    def __init__(self, path: Path, files: ExitStack) -> None:
        import av

        self._container = files.enter_context(av.open(str(path)))
        if not self._container.streams.video:
            raise CommandFailed(f"{path} has no pictures")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = self._stream.average_rate or Fraction(25)
        self.time_base = self._stream.time_base or 1 / self.rate
        duration = self._stream.duration
        estimated = None if duration is None else round(duration * self.time_base * self.rate)
        self.total = self._stream.frames or estimated

    def frames(self) -> Iterator[Frame]:
        import numpy as np

        for frame in self._container.decode(self._stream):
            # Phones store the rotation of the pictures in the file. New pictures have none, so turn them here.
            upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            seconds = float(frame.duration * self.time_base) if frame.duration else float(1 / self.rate)
            yield Frame(np.ascontiguousarray(upright), frame.pts or 0, frame.time_base or self.time_base, seconds)


class _Animation:
    def __init__(self, path: Path, files: ExitStack) -> None:
        self._image = files.enter_context(Image.open(path, formats=tuple(ANIMATIONS.values())))
        self.total = getattr(self._image, "n_frames", 1)
        self.time_base = _MILLISECOND
        # Browsers show a frame without a duration for 100 ms.
        self.rate = Fraction(1000, int(self._image.info.get("duration") or 100))

    def frames(self) -> Iterator[Frame]:
        pts = 0
        for image in ImageSequence.Iterator(self._image):
            flat = Image.new("RGBA", image.size, "white")
            flat.alpha_composite(image.convert("RGBA"))
            # Pillow knows the duration of a WebP frame only after the frame is decoded.
            milliseconds = int(image.info.get("duration") or 100)
            yield Frame(flat.convert("RGB"), pts, _MILLISECOND, milliseconds / 1000)
            pts += milliseconds


class _AnimationTarget:
    def __init__(self, path: Path, form: str) -> None:
        self._path, self._form = path, form
        self._pictures: list[Image.Image] = []
        self._milliseconds: list[int] = []
        self._pixels = 0
        self._end = 0.0

    def add(self, picture: Image.Image, frame: Frame) -> None:
        self._pixels += picture.width * picture.height
        if self._pixels > _ANIMATION_PIXELS:
            raise CommandFailed(
                f"the animation has more than {_ANIMATION_PIXELS / 1e6:.0f} Mpx in all; write to .mp4, or use --size"
            )
        # Round the ends and not the durations, so that the animation does not drift. GIF counts in 10 ms.
        step = 10 if self._form == "GIF" else 1
        start = round(self._end * 1000 / step) * step
        self._end += frame.seconds
        self._milliseconds.append(max(round(self._end * 1000 / step) * step - start, step))
        self._pictures.append(picture)

    def finish(self, complete: bool) -> None:
        if not self._pictures:
            return
        first, *rest = self._pictures
        options = {"quality": 90} if self._form == "WEBP" else {}
        first.save(
            self._path, self._form, save_all=True, append_images=rest, duration=self._milliseconds, loop=0, **options
        )


class _VideoTarget:
    def __init__(self, path: Path, out: Path, source: Source, content: Path | None, files: ExitStack) -> None:
        import av

        try:
            self._container = files.enter_context(av.open(str(path), "w"))
        except ValueError:
            raise UsageError(
                f"{out} ends in {out.suffix!r}, which is no video's suffix; write to .mp4, .mkv, .gif or .webp"
            ) from None
        self._rate = source.rate
        # Use the ticks of the source, so that every frame keeps its time. AVI has a constant rate only.
        self._time_base = 1 / source.rate if out.suffix.lower() == ".avi" else source.time_base
        self._encoder: Any = None
        # The encoder's stream comes first in the file, as players expect.
        self._video = self._container.add_stream(self._container.default_video_codec, rate=self._rate)
        self._other = None if content is None else _Copies(content, self._container, files)
        self._last = -1

    def add(self, picture: Image.Image, frame: Frame) -> None:
        import av

        if self._encoder is None:
            self._encoder = self._configure(picture)
        even = picture.crop((0, 0, picture.width & ~1, picture.height & ~1))
        shown = av.VideoFrame.from_image(even).reformat(format="yuv420p", dst_colorspace="ITU709")
        ticks = round(frame.pts * frame.time_base / self._time_base)
        # An encoder refuses two frames with the same time.
        self._last = shown.pts = max(ticks, self._last + 1) if self._last >= 0 else ticks
        shown.time_base = self._time_base
        if self._other is not None:
            self._other.copy(until=float(shown.pts * self._time_base))
        self._container.mux(self._encoder.encode(shown))

    def finish(self, complete: bool) -> None:
        if self._encoder is not None:
            self._container.mux(self._encoder.encode(None))
            if self._other is not None:
                end = float(self._last * self._time_base + 1 / self._rate)
                self._other.copy(until=math.inf if complete else end)

    def _configure(self, picture: Image.Image) -> Any:
        encoder = self._video
        # Color is kept for every second pixel, so sides are even.
        encoder.width, encoder.height = picture.width & ~1, picture.height & ~1
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = self._time_base
        context = encoder.codec_context
        context.time_base = self._time_base
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.options = {"crf": _CRF}
        return encoder


class _Copies:
    """Copies sound and subtitles from one file to another, packet by packet, interleaved with the pictures."""

    def __init__(self, content: Path, target: "av.container.OutputContainer", files: ExitStack) -> None:
        import av

        # A second reader copies these packets while pictures are read, so they do not collect in memory.
        source = files.enter_context(av.open(str(content)))
        self._target = target
        self._streams: dict[int, Any] = {}
        for stream in source.streams:
            if stream.type not in {"audio", "subtitle"}:
                continue
            try:
                self._streams[stream.index] = target.add_stream_from_template(stream)
            except ValueError:
                name = stream.codec_context.codec.canonical_name
                kind = "sound" if stream.type == "audio" else "subtitles"
                raise CommandFailed(
                    f"the {name} {kind} of {content} cannot be copied into this kind of file; write to .mkv"
                ) from None
        chosen = [stream for stream in source.streams if stream.index in self._streams]
        self._packets = source.demux(chosen) if chosen else iter(())
        self._next: Any = None

    def copy(self, until: float) -> None:
        """Copy the packets up to that second."""
        while (packet := self._next or next(self._packets, None)) is not None:
            self._next = None
            if packet.dts is None:
                # A packet without data marks the end of a track.
                continue
            if float(packet.dts * packet.time_base) > until:
                self._next = packet
                return
            packet.stream = self._streams[packet.stream.index]
            self._target.mux(packet)
