"""What is known of a call besides its message: who calls, under which id, how it went. Knows no wire."""

import re
import time
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import grpc

from ..errors import ServiceError
from . import stages

REQUEST_ID = "x-request-id"
"""Metadata key of the caller's own id for the call. The answer carries the id under the same key."""

_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass
class Call:
    """One call, from its first byte to its status.

    Attributes:
        method: As /stylewire.v1.Stylizer/Stylize.
        request_id: The caller's, else a fresh one.
        metadata: Its headers.
        account: Name of the token's owner; empty where no token is asked for.
        peer: Address of the other end.
        deadline: On the clock of `time.monotonic`, in seconds; None for none.
        code: How it ended; None while it runs.
        seconds: How long it took; 0 while it runs.
        stages: Seconds spent in each stage.
        evicted: Why another caller has taken its place; None if none has.
    """

    method: str
    request_id: str
    metadata: Metadata = ()
    account: str = ""
    peer: str = ""
    deadline: float | None = None
    code: grpc.StatusCode | None = None
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    evicted: ServiceError | None = None

    @property
    def caller(self) -> str:
        """Whose turn the call takes in the queue, and whose share it takes: the account, else the connection."""
        return self.account or self.peer

    def finish(self) -> None:
        """Set code and seconds. A call that has failed after its deadline counts as late, whatever came of it."""
        if self.code is not grpc.StatusCode.OK:
            is_late = self.deadline is not None and time.monotonic() >= self.deadline
            self.code = grpc.StatusCode.DEADLINE_EXCEEDED if is_late else self.code or grpc.StatusCode.CANCELLED
        self.seconds = time.perf_counter() - self.started


class Watcher:
    """Base class of what is told of every call. `passed` is called from several threads."""

    def began(self, call: Call) -> None:
        """Note that a call has come in."""

    def passed(self, call: Call, stage: str, start: float, end: float) -> None:
        """Note that a stage of a call is over; seconds on the clock of `time.perf_counter`."""

    def ended(self, call: Call) -> None:
        """Note that a call is over: its code and seconds are set."""


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def enter(call: Call, watchers: Sequence[Watcher]) -> None:
    """Make this the call that the current task works for."""
    _current.set(call)

    def passed(stage: str, start: float, end: float) -> None:
        call.stages[stage] = call.stages.get(stage, 0.0) + end - start
        for watcher in watchers:
            watcher.passed(call, stage, start, end)

    stages.observer.set(passed)


def current() -> Call:
    """Return the call that the current task works for.

    Raises:
        LookupError: It works for none.
    """
    call = _current.get()
    if call is None:
        raise LookupError("no call is being served")
    return call


def value_of(metadata: Metadata, key: str) -> str:
    """Return the first text value under a key; empty where there is none."""
    for name, value in metadata:
        if name == key:
            return value if isinstance(value, str) else ""
    return ""


def request_id(metadata: Metadata) -> str:
    """Return the caller's id if it is safe in a log line, else a fresh one."""
    given = value_of(metadata, REQUEST_ID)
    return given if _ID.fullmatch(given) else uuid.uuid4().hex
