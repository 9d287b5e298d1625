"""A call's messages, as they come, or do not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ..errors import DeadlinePassed, InvalidInput

MESSAGE_SECONDS = 120.0
"""From a call's head to the end of its message, or of a stream's first one: 64 MiB at 5 Mbit/s."""

_MOMENT_SECONDS, _INSTANT_SECONDS = 0.1, 0.005
"""In which gRPC tells that a call whose messages have ended was cut off: at leisure for an error, soon for a stream."""


async def _first(requests: AsyncIterator) -> Any:
    """A call's first message, None for none. The wait is bounded: what never comes would hold its place for good."""
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await anext(aiter(requests), None)
    except TimeoutError:
        raise DeadlinePassed(f"the call's message has not come within {MESSAGE_SECONDS:g} s") from None


async def only(requests: AsyncIterator) -> Any:
    """The message of a call that has one; raises DeadlinePassed or InvalidInput where none comes."""
    request = await _first(requests)
    if request is None:
        # A message that was cut off or too large looks like none, and gRPC ends the call itself a moment later.
        await asyncio.sleep(_MOMENT_SECONDS)
        raise InvalidInput("", "the call has no message")
    return request


async def begun_in_time(requests: AsyncIterator) -> AsyncIterator:
    """All messages of a call, the first of them in time; raises as `only`, but ends where there is none."""
    first = await _first(requests)
    if first is not None:
        yield first
        async for request in requests:
            yield request
        # A caller that has gone looks like one that has nothing more to send.
        await asyncio.sleep(_INSTANT_SECONDS)
