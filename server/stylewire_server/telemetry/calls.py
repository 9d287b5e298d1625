"""What is known of a call besides its message: who calls, under which id, how it went."""

import re
import time
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import grpc
import grpc.aio

from . import stages

REQUEST_ID = "x-request-id"
"""Metadata key: of the caller's own id for the call, and of the one that comes back with the answer."""

_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass
class Call:
    """One call, from its first byte to its status.

    Attributes:
        method: As /stylewire.v1.Stylizer/Stylize.
        request_id: The caller's, else a fresh one.
        account: Name of the token; empty where none is asked for.
        peer: Address of the other end.
        code: How it ended; None while it runs.
        seconds: That it took; 0 while it runs.
        stages: Seconds spent in each stage.
    """

    method: str
    request_id: str
    metadata: Metadata = ()
    account: str = ""
    peer: str = ""
    code: grpc.StatusCode | None = None
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @property
    def caller(self) -> str:
        """Whose turn the call takes in the queue: the token's name, else the connection."""
        return self.account or self.peer


class Watcher:
    """Sees calls begin, pass their stages and end. Stages come from several threads."""

    def began(self, call: Call) -> None:
        """A call of one of this server's own services has come in."""

    def passed(self, call: Call, stage: str, start: float, end: float) -> None:
        """A stage is over; seconds on the clock of `time.perf_counter`."""

    def ended(self, call: Call) -> None:
        """The call is over: code and seconds are set."""


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def enter(call: Call, watchers: Sequence[Watcher]) -> None:
    """Makes this the call that the current task works for."""
    _current.set(call)

    def passed(stage: str, start: float, end: float) -> None:
        call.stages[stage] = call.stages.get(stage, 0.0) + end - start
        for watcher in watchers:
            watcher.passed(call, stage, start, end)

    stages.observer.set(passed)


def caller(context: grpc.aio.ServicerContext) -> str:
    """Whose turn the current call takes in the queue."""
    call = _current.get()
    return call.caller if call is not None else context.peer()


def deadline(context: grpc.aio.ServicerContext) -> float | None:
    """The call's deadline on the clock of `time.monotonic`, in seconds; None for none."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


def value_of(metadata: Metadata, key: str) -> str:
    """The first text value under that key; empty where there is none."""
    for name, value in metadata:
        if name == key:
            return value if isinstance(value, str) else ""
    return ""


def request_id(metadata: Metadata) -> str:
    """The caller's id if it can stand in a log line, else a fresh one."""
    given = value_of(metadata, REQUEST_ID)
    return given if _ID.fullmatch(given) else uuid.uuid4().hex
