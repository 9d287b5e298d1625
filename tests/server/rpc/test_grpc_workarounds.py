"""The internals that the workarounds use. A test fails if an upgrade breaks a workaround or makes it needless."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import pytest
from stylewire_server.rpc.grpc_workarounds import abandon, install_task_factory, is_about_this_server, read_of
from stylewire_server.testing import until

RST_STREAM = 3
ANSWER_BYTES = 1_000_000


def test_gRPC_has_no_way_of_its_own_to_cancel_a_call() -> None:  # noqa: N802
    assert not hasattr(grpc.aio.ServicerContext, "cancel"), "abandon can go"


def test_an_abandoned_call_is_reset_without_a_garbage_collection(open_wire: Callable) -> None:
    async def run() -> list[tuple[int, int, bytes]]:
        answered: asyncio.Queue[asyncio.Task] = asyncio.Queue()

        async def answer(requests: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> bytes:
            async with read_of(requests) as messages:
                await anext(messages)
            answered.put_nowait(asyncio.current_task())
            return bytes(ANSWER_BYTES)

        install_task_factory(asyncio.get_running_loop())
        server = grpc.aio.server()
        handlers = {"Answer": grpc.stream_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        # gRPC's accept loop refers to the first call of a server for longer than to others.
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.stream_unary("/test.Test/Answer")(iter([b""]))
        await answered.get()
        wire = await asyncio.to_thread(open_wire, port, 0)
        wire.head(1, "/test.Test/Answer")
        wire.message(1, b"")
        task = await answered.get()
        await asyncio.sleep(0.2)
        assert not task.done()
        abandon(task)
        del task
        # The call that was accepted last is freed when the next one comes in.
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_unary("/test.Test/Answer")(iter([b""]))
            assert len(await call) == ANSWER_BYTES
        frames = []

        def is_reset() -> bool:
            frames.extend(wire.received(0.2))
            return any(kind == RST_STREAM and stream == 1 for kind, stream, _ in frames)

        await asyncio.to_thread(until, is_reset, "the call is reset")
        wire.vanish()
        await server.stop(0)

    gc.disable()
    try:
        asyncio.run(run())
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("error", "shown"),
    [(asyncio.CancelledError, False), (ValueError, True), (None, True)],
    ids=["gone", "bug", "plain"],
)
def test_callers_who_leave_are_not_logged(error: type[BaseException] | None, shown: bool) -> None:
    info = None if error is None else (error, error(), None)
    record = logging.LogRecord("grpc", logging.ERROR, "", 0, "something", (), info)
    assert is_about_this_server(record) is shown


def test_what_a_caller_sent_is_not_logged() -> None:
    record = logging.LogRecord("grpc", logging.ERROR, "", 0, "Invalid encoding on %s", (b"token",), None)
    assert not is_about_this_server(record)
