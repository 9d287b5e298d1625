"""Ordered work on a stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from stylewire_server.rpc.stream import InOrder


class Source:
    """Numbers, counted as they are read."""

    def __init__(self, end: int) -> None:
        self.read, self._end = 0, end

    def __aiter__(self) -> "Source":
        return self

    async def __anext__(self) -> int:
        await asyncio.sleep(0)
        if self.read == self._end:
            raise StopAsyncIteration
        self.read += 1
        return self.read - 1


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_results_come_in_order_whatever_ends_first() -> None:
    async def work(index: int, item: int) -> int:
        for _ in range((item * 7) % 5):
            await asyncio.sleep(0)
        return item * 10 + index

    async def run() -> list[int]:
        return [result async for result in InOrder(Source(20), work, 4)]

    assert asyncio.run(run()) == [number * 11 for number in range(20)]


def test_a_slow_consumer_holds_up_the_source() -> None:
    async def work(index: int, item: int) -> int:
        return item

    async def run() -> list[int]:
        source, reads = Source(100), []
        results = aiter(InOrder(source, work, 3))
        for _ in range(5):
            await anext(results)
            await settle()
            reads.append(source.read)
        return reads

    # One result is in the consumer's hands, and two more wait for it.
    assert asyncio.run(run()) == [3, 4, 5, 6, 7]


def test_a_result_needs_no_further_item() -> None:
    async def run() -> None:
        gate = asyncio.Event()

        async def items() -> AsyncIterator[int]:
            for number in range(3):
                yield number
                await gate.wait()
                gate.clear()

        async def work(index: int, item: int) -> int:
            return item

        results = aiter(InOrder(items(), work, 4))
        for number in range(3):
            assert await asyncio.wait_for(anext(results), 60) == number
            gate.set()

    asyncio.run(run())


def test_an_error_ends_it_in_its_place_and_stops_the_rest() -> None:
    cancelled = []

    async def work(index: int, item: int) -> int:
        if index == 2:
            raise ValueError("two")
        if index > 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(index)
                raise
        await asyncio.sleep(0.01)
        return item

    async def run() -> list[int]:
        seen = []
        with pytest.raises(ValueError, match="two"):
            async for result in InOrder(Source(20), work, 4):
                seen.append(result)
        await settle()
        return seen

    assert asyncio.run(run()) == [0, 1]
    assert cancelled


def test_an_error_of_the_source_comes_after_the_results_before_it() -> None:
    async def items() -> AsyncIterator[int]:
        yield 0
        yield 1
        raise ConnectionError("gone")

    async def work(index: int, item: int) -> int:
        await asyncio.sleep(0.01)
        return item

    async def run() -> list[int]:
        seen = []
        with pytest.raises(ConnectionError):
            async for result in InOrder(items(), work, 4):
                seen.append(result)
        return seen

    assert asyncio.run(run()) == [0, 1]


def test_cancel_ends_work_and_reading_while_the_consumer_is_away() -> None:
    async def run() -> tuple[int, int, int]:
        running = 0

        async def work(index: int, item: int) -> int:
            nonlocal running
            if index == 0:
                return item
            running += 1
            try:
                await asyncio.sleep(60)
            finally:
                running -= 1
            return item

        source = Source(100)
        results: Any = InOrder(source, work, 4)
        iterator = aiter(results)
        await anext(iterator)
        await settle()
        before = running
        results.cancel()
        await settle()
        return before, running, source.read

    before, after, read = asyncio.run(run())
    assert (before, after) == (3, 0)
    assert read == 4
