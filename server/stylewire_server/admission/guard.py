"""The guard around every call, whatever wire it comes by: whether it may be, and who is told how it went.

A wire serves a call like this:

    with guard.watch(call):
        place = guard.admit(call)
        try:
            ...  # read the message, do the work, send the answer
        finally:
            place.release()
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..errors import Draining, ServiceError
from ..statuses import OK, status_of
from ..telemetry.calls import Call, Watcher, enter
from .open_calls import OpenCallLimit, Place
from .tokens import TokenFile, authenticate


class Places:
    """The places of one call: one of the open calls, and one of the streams if it is a stream."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def release(self) -> None:
        """Free all of them. Call it when the answer is sent; the second time it does nothing."""
        for place in self._places:
            place.release()

    def on_eviction(self, end: Callable[[ServiceError], None]) -> None:
        """Replace what happens when another caller takes a place: by default the task of the call is cancelled."""
        for place in self._places:
            place.end = end


class Guard:
    """Admits calls and tells the watchers. One guard serves all wires of a process, in one event loop.

    Args:
        tokens: Who may call; None for everybody.
        calls: The limit on open calls, those included that still send their message.
        streams: The limit on those among them that are streams.
        check_room: Raises QueueFull if a caller's job would be refused whatever it is.
        watchers: Are told of every call.

    Attributes:
        draining: Whether new calls are refused, because the server is shutting down.
    """

    def __init__(
        self,
        tokens: TokenFile | None,
        calls: OpenCallLimit,
        streams: OpenCallLimit,
        check_room: Callable[[str], None],
        watchers: Sequence[Watcher],
    ) -> None:
        self._tokens = tokens
        self._calls = calls
        self._streams = streams
        self._check_room = check_room
        self._watchers = watchers
        self.draining = False

    def admit(self, call: Call, *, stream: bool = False, queued: bool = False) -> Places:
        """Check the token and the limits of a call before its message is read. Needs no message: only its head.

        Args:
            call: The call; its account is set here.
            stream: Whether it also takes a place of the streams.
            queued: Whether it is a single job in the queue, which can be refused now if the queue is full.

        Returns:
            Its places. Until they are released, another caller may take them: then the current task is cancelled, and
            `watch` raises TooManyOpenCalls.

        Raises:
            Unauthenticated, RateLimited: The token is wrong, or its rate is used up.
            Draining: The server is shutting down.
            TooManyOpenCalls, QueueFull: Too many calls or streams are open, or wait.
        """
        call.account = authenticate(call.metadata, call.peer, self._tokens)
        if self.draining:
            raise Draining("the server is shutting down; try another one")
        return self.take(call, [self._calls, self._streams] if stream else [self._calls], queued=queued)

    def take(self, call: Call, limits: Sequence[OpenCallLimit], *, queued: bool = False) -> Places:
        """Take a place of each limit, without asking for a token.

        Raises:
            TooManyOpenCalls, QueueFull: As `admit`.
        """
        task = asyncio.current_task()
        taken: list[Place] = []

        def end(error: ServiceError) -> None:
            if call.evicted is None and task is not None:
                call.evicted = error
                task.cancel()

        try:
            for limit in limits:
                taken.append(limit.take(call.caller, end))  # noqa: PERF401 - what is taken must be known on an error
            if queued:
                # To read a message costs half as much as to refuse a call for good.
                self._check_room(call.caller)
        except ServiceError:
            Places(taken).release()
            raise
        return Places(taken)

    @contextmanager
    def watch(self, call: Call, *, is_probe: bool = False) -> Iterator[None]:
        """Make this the current call of the task, and tell the watchers of its begin and its end.

        The call's code is set from the error that leaves the block, unless the wire has set it before.

        Args:
            call: The call; its peer and its deadline are set.
            is_probe: Whether the watchers hear nothing of it, so that probes do not hide callers.

        Raises:
            TooManyOpenCalls: Another caller has taken the call's place.
        """
        watchers = () if is_probe else self._watchers
        enter(call, watchers)
        for watcher in watchers:
            watcher.began(call)
        try:
            yield
            call.code = call.code or OK.grpc
        except asyncio.CancelledError:
            if call.evicted is None:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            call.code = status_of(call.evicted).grpc
            raise call.evicted from None
        except ServiceError as error:
            call.code = call.code or status_of(error).grpc
            raise
        except Exception:
            call.code = call.code or status_of(ServiceError("")).grpc
            raise
        finally:
            call.finish()
            for watcher in watchers:
                watcher.ended(call)


def remaining(call: Call) -> float | None:
    """Return the seconds until the call's deadline, negative after it; None for no deadline."""
    return None if call.deadline is None else call.deadline - time.monotonic()
