"""How an asyncio call that streams both ways really ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc
import grpc.aio

_CORE = "Internal error from Core"
"""What grpc.aio says of a write that came too late."""

_SECONDS = 1.0
"""For the server's own word to arrive, where the failed write was heard of first."""


class Verdict:
    """Remembers the status that the server gave.

    When a server ends a call while the client still writes, grpc.aio overwrites that status with INTERNAL
    (https://github.com/grpc/grpc/issues/36066, open as of 1.85). Each status passes the call's callbacks first.

    Args:
        call: A call that has just begun.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._given = asyncio.Event()
        self._error: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def of(self, error: grpc.RpcError) -> grpc.RpcError:
        """The server's own error in place of an overwritten one."""
        if error.details() != _CORE:
            return error
        try:
            await asyncio.wait_for(self._given.wait(), _SECONDS)
        except TimeoutError:
            return error
        return self._error or error

    def _note(self, call: grpc.aio.Call) -> None:
        code, details = _now(call.code()), _now(call.details())
        if self._error is None and details != _CORE and code is not grpc.StatusCode.OK:
            self._error = grpc.aio.AioRpcError(
                code, grpc.aio.Metadata(), grpc.aio.Metadata(*_now(call.trailing_metadata())), details
            )
            self._given.set()


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    raise RuntimeError("the call is done, and yet its status is not there")
