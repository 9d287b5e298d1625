"""The guard around every gRPC and HTTP call: it admits or refuses the call, and reports it to the watchers.

A server uses it like this:

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
    """The places of one call: one among the open calls, and for a stream also one among the streams."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def release(self) -> None:
        """Free all places. Call this when the answer is sent; a second call does nothing."""
        for place in self._places:
            place.release()

    def on_eviction(self, end: Callable[[ServiceError], None]) -> None:
        """Set the function that ends the call when another caller takes a place.

        The default cancels the call's task.
        """
        for place in self._places:
            place.end = end


class Guard:
    """Admits calls and informs the watchers. One guard serves gRPC and HTTP of a process, in one event loop.

    Args:
        tokens: The accounts that may call; None to admit all callers.
        calls: The limit on open calls, including those that still send their message.
        streams: The limit on open streams, which also count as calls.
        check_room: Raises QueueFull if the queue would refuse any job of a caller.
        watchers: Observers of every call.

    Attributes:
        draining: True to refuse new calls, because the server is shutting down.
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
        """Check the token and the limits of a call before its message is read. Only the headers are needed.

        Args:
            call: The call; this method sets its account.
            stream: True if the call also takes a place among the streams.
            queued: True if the call is a single job in the queue. It is refused now if the queue is full.

        Returns:
            The places of the call. Until they are released, another caller may take them: then the current task is
            cancelled, and `watch` raises TooManyOpenCalls.

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
        """Take a place of each limit, without a check of the token.

        Raises:
            TooManyOpenCalls, QueueFull: As for `admit`.
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
                # Checked before the message is read. Reading it would add half to the cost of a refusal.
                self._check_room(call.caller)
        except ServiceError:
            Places(taken).release()
            raise
        return Places(taken)

    @contextmanager
    def watch(self, call: Call, *, is_probe: bool = False) -> Iterator[None]:
        """Make this the current call of the task, and inform the watchers of its start and its end.

        The code of the call is set from the error that leaves the block, unless the caller of this method has set it.

        Args:
            call: The call; its peer and its deadline are set.
            is_probe: True for a probe. The watchers do not see it, so that logs and metrics only have real calls.

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
