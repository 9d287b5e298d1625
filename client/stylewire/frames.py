"""The sending side of a stream of frames."""

import threading
from collections.abc import Iterable, Iterator
from itertools import count

from .messages import ImageLike, frame_request
from .v1 import stylizer_pb2 as pb

AHEAD = 8
"""Frames sent whose results have not come yet: enough to keep a server busy, few enough to hold in memory."""


class FrameFeeder:
    """Requests of one stream, made from frames as results come in. gRPC iterates over it in a thread of its own.

    Args:
        setup: The first message.
        frames: The frames; taken lazily.

    Attributes:
        error: What the frames' iterator raised; the stream then ends as if there were no more frames.
    """

    def __init__(self, setup: pb.StylizeStreamRequest, frames: Iterable[ImageLike]) -> None:
        self._setup = setup
        self._frames = frames
        self._free = threading.Semaphore(AHEAD)
        self._closed = False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pb.StylizeStreamRequest]:
        yield self._setup
        try:
            frames = iter(self._frames)
            for number in count():
                if not self._wait():
                    return
                try:
                    frame = next(frames)
                except StopIteration:
                    return
                yield frame_request(frame, number)
        except Exception as error:
            self.error = error

    def received(self) -> None:
        """The result of a frame has come."""
        self._free.release()

    def close(self) -> None:
        """No more frames are wanted."""
        self._closed = True
        self._free.release()

    def _wait(self) -> bool:
        """Until a frame may be sent; false when none is wanted any more."""
        self._free.acquire()
        return not self._closed
