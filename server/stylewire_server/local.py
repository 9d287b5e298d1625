"""The service inside this process, without a port: `Client(channel=LocalChannel())`, or `stylewire --local`.

The command line of the client loads this module by its name when no server listens. So neither package imports the
other, and a machine with the client alone does not need the server's packages.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from google.protobuf import empty_pb2
from stylewire.v1 import stylizer_pb2 as pb

from .engine.base import Checkpoint
from .engine_settings import NO_MESSAGE_BYTES, EngineSettings
from .errors import DeadlinePassed, InvalidInput, ServiceError
from .rpc import messages
from .runtime.loading import describe, make_stylizer, open_engine
from .stylizer import Timings

_OF_THE_CLIENT = {"STYLEWIRE_TARGET", "STYLEWIRE_TOKEN"}
"""Environment variables that only the client reads."""


class LocalChannel:
    """A channel whose calls are computed in this process. Safe to use from several threads.

    The engine is loaded when the channel is made. It obeys the same environment variables as the server, such as
    STYLEWIRE_MODEL and STYLEWIRE_DATA_DIR; named styles are those of a server on this machine.

    Raises:
        WeightsError: The model cannot be used.
        EngineError: The engine cannot run it.
        BlobsError: The folder of the named styles cannot be used.
    """

    def __init__(self) -> None:
        # With one stream there is one compiled graph.
        settings = _settings(max_message_bytes=NO_MESSAGE_BYTES, streams=1)
        network, engine = open_engine(settings)
        self._stylizer = make_stylizer(network, engine, settings)
        self._edition = network.edition
        self._describe = partial(describe, network, engine, settings)

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Callable[..., Any]:
        """Return the function that makes one call."""
        work: Callable[..., Any] = getattr(self, f"_{method.rpartition('/')[2]}")

        def call(request: Any, timeout: float | None = None, **_: Any) -> Any:
            with _Statuses():
                return work(request, _until(timeout))

        return call

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Callable[..., "_LocalStream"]:
        """Return the function that makes one call of `StylizeStream`."""

        def call(requests: Iterable[Any], timeout: float | None = None, **_: Any) -> _LocalStream:
            return _LocalStream(self._frames(iter(requests), _until(timeout)))

        return call

    def stub(self) -> Any:
        """Return an object with the methods of the generated stub, which needs gRPC."""
        return _LocalStub(self)

    def close(self) -> None:
        """Do nothing: the channel holds no connection."""

    def __enter__(self) -> "LocalChannel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _Stylize(self, request: pb.StylizeRequest, checkpoint: Checkpoint) -> pb.StylizeResponse:  # noqa: N802
        content = messages.source(request.content, "content")
        styles, options = messages.weighted_styles(request.styles), messages.options(request.options)
        result = self._stylizer.stylize(content, styles, options, checkpoint)
        return messages.response(result, self._edition, 0.0)

    def _CreateStyle(self, request: pb.CreateStyleRequest, checkpoint: Checkpoint) -> pb.Style:  # noqa: N802
        styles = messages.weighted_styles(request.styles)
        return messages.style(self._stylizer.create_style(request.name, styles, request.overwrite, checkpoint))

    def _GetStyle(self, request: pb.GetStyleRequest, _: Checkpoint) -> pb.Style:  # noqa: N802
        return messages.style(self._stylizer.store.get(request.name))

    def _ListStyles(self, request: pb.ListStylesRequest, _: Checkpoint) -> pb.ListStylesResponse:  # noqa: N802
        styles, token = self._stylizer.store.page(request.page_size, request.page_token)
        return pb.ListStylesResponse(styles=[messages.style(style) for style in styles], next_page_token=token)

    def _DeleteStyle(self, request: pb.DeleteStyleRequest, _: Checkpoint) -> empty_pb2.Empty:  # noqa: N802
        self._stylizer.store.delete(request.name)
        return empty_pb2.Empty()

    def _ImportStyle(self, request: pb.ImportStyleRequest, _: Checkpoint) -> pb.Style:  # noqa: N802
        return messages.style(self._stylizer.import_style(request.name, request.data, request.overwrite))

    def _ExportStyle(self, request: pb.ExportStyleRequest, _: Checkpoint) -> pb.ExportStyleResponse:  # noqa: N802
        return pb.ExportStyleResponse(data=self._stylizer.export_style(request.name))

    def _GetModel(self, request: pb.GetModelRequest, _: Checkpoint) -> pb.Model:  # noqa: N802
        return self._describe()

    def _frames(
        self, requests: Iterator[pb.StylizeStreamRequest], checkpoint: Checkpoint
    ) -> Iterator[pb.StylizeResponse]:
        setup, timings = next(requests).setup, Timings()
        with _Statuses():
            options = messages.options(setup.options)
            passes = self._stylizer.find_passes(messages.weighted_styles(setup.styles), timings)
        for number, request in enumerate(requests):
            with _Statuses(number):
                content = messages.source(request.content, "content")
                result = self._stylizer.stylize_in(passes, content, options, timings, checkpoint)
            yield messages.response(result, self._edition, 0.0)
            timings = Timings(style_cached=True)


class _LocalStub:
    """The methods of the generated stub for one channel."""

    def __init__(self, channel: LocalChannel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._channel, "stream_stream" if name == "StylizeStream" else "unary_unary")(name)


class _LocalStream:
    """The responses of a local stream, as gRPC's call object offers them."""

    def __init__(self, responses: Iterator[pb.StylizeResponse]) -> None:
        self._responses = responses

    def __iter__(self) -> Iterator[pb.StylizeResponse]:
        return self._responses

    def cancel(self) -> None:
        """End the stream; frames are computed one by one, so there is nothing to stop."""


class _Statuses:
    """Turns an error of the domain into the failure of a call; with the frame's number inside a stream."""

    def __init__(self, frame: int | None = None) -> None:
        self._frame = frame

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, ServiceError):
            return
        from .rpc.status import LocalError

        if isinstance(error, InvalidInput) and self._frame is not None:
            raise LocalError(InvalidInput(error.field, f"frame {self._frame}: {error}")) from error
        raise LocalError(error) from error


def _settings(**values: Any) -> EngineSettings:
    """Return the settings from the environment, and those that are given. Without variables, pydantic is not loaded."""
    names = {name.upper() for name in os.environ} - _OF_THE_CLIENT
    if not any(name.startswith("STYLEWIRE_") for name in names):
        return EngineSettings(**values)
    from .settings import ServeSettings

    return ServeSettings(**values)


def _until(timeout: float | None) -> Checkpoint:
    """Return a checkpoint that raises when the time is over."""
    if timeout is None:
        return lambda: None
    end = time.monotonic() + timeout

    def check() -> None:
        if time.monotonic() > end:
            raise DeadlinePassed(f"no result within {timeout:g} s")

    return check
