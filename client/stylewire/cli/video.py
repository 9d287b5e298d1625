"""`video IN -o OUT --style STYLE`: a command that sends every frame over one stream. It needs the extra `video`."""

import argparse
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..client import Client
from ..errors import StylewireError
from ..options import Options, add_option_flags, options_of
from ..pictures import ImageLike
from .films import ANIMATIONS, Frame, Source, Target, open_source, open_target
from .progress import Progress
from .shared import (
    CommandFailed,
    UsageError,
    add_json_flag,
    add_style_flag,
    blend_of,
    part_of,
    refuse_to_overwrite,
    say,
    style_files,
)

if TYPE_CHECKING:
    from .steady import Steady


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "video",
        help="stylize a video or an animation",
        description="Stylize every frame of a video, or of an animated GIF or WebP file. Times, sound and subtitles "
        "stay as they are. Without --fit and --size, the pictures keep their size. Ctrl-C keeps what is done. Videos "
        "need PyAV: pip install 'stylewire[video]'.",
    )
    parser.add_argument("content", type=Path, metavar="IN", help="a video, or an animated .gif or .webp file")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a .mp4, .mkv, .gif or .webp file")
    add_style_flag(parser, required=True)
    add_option_flags(parser, ("quality", "keep_metadata"))
    parser.add_argument(
        "--steady",
        type=float,
        nargs="?",
        const=0.5,
        default=0.0,
        metavar="SHARE",
        help="reduce flicker: blend each frame with the one before it, 0 to 0.95 (0.5 where no value is given); needs "
        "OpenCV: pip install 'stylewire[steady]'",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code."""
    content, out = arguments.content, arguments.out
    if not 0 <= arguments.steady <= 0.95:
        raise UsageError(f"--steady is {arguments.steady:g}; it must be from 0 to 0.95")
    if not {content.suffix.lower(), out.suffix.lower()} <= ANIMATIONS.keys():
        try:
            import av  # noqa: F401
        except ImportError:
            raise UsageError("videos need PyAV: pip install 'stylewire[video]'") from None
    steady = None
    if arguments.steady:
        try:
            from .steady import Steady

            steady = Steady(arguments.steady)
        except ImportError:
            raise UsageError("--steady needs OpenCV: pip install 'stylewire[steady]'") from None
    refuse_to_overwrite([out], [content, *style_files(arguments.styles)])
    blend = blend_of(arguments.styles)
    fit = arguments.fit or ("keep" if arguments.size else "native")
    options = options_of(arguments, encoding="raw", fit=fit)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = part_of(out)
    work = None
    try:
        with ExitStack() as files, _errors_of_ffmpeg(content, out):
            source = open_source(content, files)
            target = open_target(temporary, out, source, content, files)
            work = _Work(source, target, steady)
            work.run(client, blend, options)
        if not work.done:
            if work.failure is not None:
                raise work.failure
            raise CommandFailed(f"{content} has no pictures")
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    text = f"{out}: {work.done} frames"
    if work.failure is not None:
        text += f", and the rest is missing: {str(work.failure) or 'interrupted'}"
    say(arguments, text, {"out": str(out), "frames": work.done, "complete": work.failure is None})
    if work.failure is not None:
        raise work.failure
    return 0


class _errors_of_ffmpeg:  # noqa: N801 - used as a function
    """Turns an error of PyAV into a message of one line. Does nothing if PyAV is not loaded."""

    def __init__(self, content: Path, out: Path) -> None:
        self._content, self._out = content, out

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        with suppress(ImportError):
            import av

            if isinstance(error, av.FFmpegError):
                raise CommandFailed(f"{self._content} to {self._out}: {error.strerror}") from None


class _Work:
    """The work on one film.

    Attributes:
        done: Number of written frames.
        failure: The interrupt or the error of the server that ended the work early.
    """

    def __init__(self, source: Source, target: Target, steady: "Steady | None") -> None:
        self._source, self._target, self._steady = source, target, steady
        self._sent: deque[Frame] = deque()
        self._decoding = threading.Lock()
        self._ended = False
        self.done = 0
        self.failure: BaseException | None = None

    def run(self, client: Client, blend: Any, options: Options) -> None:
        """Stylize all frames. After an interrupt or an error of the server, the file has all finished frames."""
        results = client.stylize_stream(self._frames(), blend, **options)
        try:
            with Progress(self._source.total, "frames") as progress:
                for picture in results:
                    # Results come in the order of the frames.
                    frame = self._sent.popleft()
                    shown = self._steady.blend(frame.pixels, picture) if self._steady else picture
                    self._target.add(shown, frame)
                    self.done += 1
                    progress.step()
        except (KeyboardInterrupt, StylewireError) as error:
            self.failure = error
        finally:
            results.close()
            # gRPC's thread decodes frames. Closing the file meanwhile would crash the process.
            with self._decoding:
                self._ended = True
        self._target.finish(complete=self.failure is None)

    def _frames(self) -> Iterator[ImageLike]:
        frames = self._source.frames()
        while (frame := self._next(frames)) is not None:
            self._sent.append(frame)
            yield frame.pixels

    def _next(self, frames: Iterator[Frame]) -> Frame | None:
        """Return the next frame; None at the end, or if the work has been stopped."""
        with self._decoding:
            return None if self._ended else next(frames, None)
