"""`video IN -o OUT --style STYLE`: every frame over one stream. Needs PyAV: the extra `video`."""

import argparse
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..client import Client
from ..options import add_option_flags, options_of
from .progress import Progress
from .shared import (
    CommandFailed,
    UsageError,
    add_style_flag,
    blend_of,
    part_of,
    refuse_to_overwrite,
    style_files,
)

if TYPE_CHECKING:
    import av

_BT709 = 1
"""Of AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic (ITU-T H.273): what players assume."""

_CRF = "18"
"""Constant rate factor of x264: texture as dense as a style's falls apart at the default of 23."""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "video", help="stylise a video", description="Stylise every frame; frame rate and sound stay. Needs PyAV."
    )
    parser.add_argument("content", type=Path, metavar="IN", help="the video to stylise")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where to write it, as .mp4 or .mkv")
    add_style_flag(parser, required=True)
    add_option_flags(parser, ("quality", "keep_metadata"), fit="native")
    parser.set_defaults(run=run)


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    try:
        import av
    except ImportError:
        raise UsageError("videos need PyAV: pip install 'stylewire[video]'") from None
    content, out = arguments.content, arguments.out
    refuse_to_overwrite([out], [content, *style_files(arguments.styles)])
    blend = blend_of(arguments.styles)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = part_of(out)
    try:
        with ExitStack() as files:
            source = files.enter_context(av.open(str(content)))
            # A second reader, so that sound is copied beside the pictures and not gathered up before them.
            sound = files.enter_context(av.open(str(content)))
            target = files.enter_context(_opened(temporary, out))
            frames = _Copy(source, sound, target).run(client, blend, options_of(arguments, encoding="raw"))
        temporary.replace(out)
    except av.FFmpegError as error:
        raise CommandFailed(f"{content} to {out}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{out}: {frames} frames")
    return 0


def _opened(temporary: Path, out: Path) -> "av.container.OutputContainer":
    import av

    try:
        return av.open(str(temporary), "w")
    except ValueError:
        raise UsageError(f"{out} ends in {out.suffix!r}, which is no video's suffix; write to .mp4 or .mkv") from None


class _Copy:
    """One video on its way through the server.

    Args:
        source: Where the pictures come from.
        sound: The same file, for the sound.
        target: Where both go.
    """

    def __init__(
        self,
        source: "av.container.InputContainer",
        sound: "av.container.InputContainer",
        target: "av.container.OutputContainer",
    ) -> None:
        if not source.streams.video:
            raise CommandFailed(f"{source.name} has no pictures")
        self._source = source
        self._target = target
        self._video = source.streams.video[0]
        self._video.thread_type = "AUTO"
        self._rate = self._video.average_rate or Fraction(25)
        self._times: deque[tuple[int | None, Fraction | None]] = deque()
        self._sound = self._open_sound(sound)
        self._decoding = threading.Lock()
        self._ended = False

    def run(self, client: Client, blend: Any, options: Any) -> int:
        """Copies everything; returns the number of frames. After it, however it ends, nobody reads the source."""
        try:
            return self._run(client, blend, options)
        finally:
            # Frames are decoded in gRPC's thread, and a file that is closed meanwhile takes the process with it.
            with self._decoding:
                self._ended = True

    def _run(self, client: Client, blend: Any, options: Any) -> int:
        encoder = None
        with Progress(self._video.frames or None, "frames") as progress:
            for picture in client.stylize_stream(self._frames(), blend, **options):
                encoder = encoder or self._open_encoder(picture)
                frame = self._encodable(picture)
                # Results come in the order of the frames.
                frame.pts, frame.time_base = self._times.popleft()
                self._copy_sound(until=frame.time)
                self._target.mux(encoder.encode(frame))
                progress.step()
        if encoder is None:
            raise CommandFailed(f"{self._source.name} has no pictures")
        self._target.mux(encoder.encode(None))
        self._copy_sound(until=None)
        return progress.done

    def _frames(self) -> Iterator[np.ndarray]:
        frames = self._source.decode(self._video)
        while (frame := self._next(frames)) is not None:
            self._times.append((frame.pts, frame.time_base))
            # Phones turn the picture by a note in the file, which does not outlive new pictures.
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))

    def _next(self, frames: Iterator[Any]) -> Any:
        """The next frame, None when there is none or none is wanted."""
        with self._decoding:
            return None if self._ended else next(frames, None)

    def _open_encoder(self, picture: Image.Image) -> Any:
        encoder = self._target.add_stream(self._target.default_video_codec, rate=self._rate)
        # Colour is kept for every second pixel, so sides are even.
        encoder.width, encoder.height = picture.width & ~1, picture.height & ~1
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = self._video.time_base
        context = encoder.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.options = {"crf": _CRF}
        return encoder

    @staticmethod
    def _encodable(picture: Image.Image) -> Any:
        import av

        even = picture.crop((0, 0, picture.width & ~1, picture.height & ~1))
        return av.VideoFrame.from_image(even).reformat(format="yuv420p", dst_colorspace="ITU709")

    def _open_sound(self, sound: "av.container.InputContainer") -> Any:
        """Packets of the sound, and the stream that they go to; None where there is none."""
        if not sound.streams.audio:
            return None
        stream = sound.streams.audio[0]
        codec = stream.codec_context.codec.canonical_name
        try:
            target = self._target.add_stream_from_template(stream)
        except ValueError:
            raise CommandFailed(f"{codec} sound does not fit into this kind of file; write to .mkv") from None
        return _Sound(sound.demux(stream), target)

    def _copy_sound(self, until: float | None) -> None:
        if self._sound is not None:
            for packet in self._sound.packets(until):
                self._target.mux(packet)


class _Sound:
    """Packets of a sound track, in turn with the pictures."""

    def __init__(self, packets: Iterator[Any], target: Any) -> None:
        self._packets = packets
        self._target = target
        self._next: Any = None

    def packets(self, until: float | None) -> Iterator[Any]:
        """Those up to that second; None for all."""
        while True:
            packet = self._next or next(self._packets, None)
            if packet is None:
                return
            if packet.dts is None:
                # The end of the track.
                self._next = None
                continue
            if until is not None and packet.pts * packet.time_base > until:
                self._next = packet
                return
            self._next = None
            packet.stream = self._target
            yield packet
