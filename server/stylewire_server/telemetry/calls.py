"""The record of a call: caller, request id, times and result. It is the same for gRPC and HTTP."""

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
        method: Full name of the method, such as /stylewire.v1.Stylizer/Stylize.
        request_id: The id that the caller gave, or a new id.
        metadata: Headers of the call.
        account: Name of the token's owner; empty if the server asks for no token.
        peer: Address of the caller.
        deadline: Seconds on the clock of `time.monotonic`; None for no deadline.
        code: Status code of the call; None while it runs.
        seconds: Duration of the call; 0 while it runs.
        stages: Seconds spent in each stage, by its name.
        started: Start of the call in seconds on the clock of `time.perf_counter`.
        evicted: The error with which the server ends this call in favor of another caller; None for no such error.
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
        """Return the account, or the address if there is no account. Turns and limits apply to each caller."""
        return self.account or self.peer

    def finish(self) -> None:
        """Set code and seconds.

        A call that failed after its deadline has the code DEADLINE_EXCEEDED, whatever its error.
        """
        if self.code is not grpc.StatusCode.OK:
            is_late = self.deadline is not None and time.monotonic() >= self.deadline
            self.code = grpc.StatusCode.DEADLINE_EXCEEDED if is_late else self.code or grpc.StatusCode.CANCELLED
        self.seconds = time.perf_counter() - self.started


class Watcher:
    """Base class of the observers of all calls. `passed` is called from several threads."""

    def began(self, call: Call) -> None:
        """Note that a call has started."""

    def passed(self, call: Call, stage: str, start: float, end: float) -> None:
        """Note that a stage of a call is over; start and end are seconds on the clock of `time.perf_counter`."""

    def ended(self, call: Call) -> None:
        """Note that a call is over. Its code and seconds are set."""


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def enter(call: Call, watchers: Sequence[Watcher]) -> None:
    """Set the call that the current task works for."""
    _current.set(call)

    def passed(stage: str, start: float, end: float) -> None:
        call.stages[stage] = call.stages.get(stage, 0.0) + end - start
        for watcher in watchers:
            watcher.passed(call, stage, start, end)

    stages.observer.set(passed)


def current() -> Call:
    """Return the call that the current task works for.

    Raises:
        LookupError: The task works for no call.
    """
    call = _current.get()
    if call is None:
        raise LookupError("no call is being served")
    return call


def value_of(metadata: Metadata, key: str) -> str:
    """Return the first text value of a key; empty if there is none."""
    for name, value in metadata:
        if name == key:
            return value if isinstance(value, str) else ""
    return ""


def request_id(metadata: Metadata) -> str:
    """Return the caller's request id if it is safe in a line of the log, else a new id."""
    given = value_of(metadata, REQUEST_ID)
    return given if _ID.fullmatch(given) else uuid.uuid4().hex
