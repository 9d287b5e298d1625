"""Several server processes on one port, and the parent process that starts and stops them.

Each process listens with SO_REUSEPORT, and the kernel gives every new connection to one of them. If one process ends
unexpectedly, the parent stops the others, which finish their calls. A supervisor then starts all of them again.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import ExitStack, suppress

from ..settings import ServeSettings
from . import systemd
from .address import BindError, reserve
from .exits import CRASHED, REFUSED

_AFTER_GRACE_SECONDS = 8.0
"""Time after the grace period until the parent kills a process that has not ended."""


def serve(settings: ServeSettings) -> int:
    """Serve in `effective_processes` processes until SIGTERM or SIGINT; return the exit code: 0, or one of `exits`.

    It prints `serving on …` when all processes serve. It passes SIGHUP to all of them. Errors go to stderr, once.
    """
    try:
        with ExitStack() as held:
            port = held.enter_context(reserve(settings.host, settings.port))
            http_port = settings.http_port
            if http_port is not None:
                http_port = held.enter_context(reserve(settings.host, http_port))
            return asyncio.run(_Parent(settings, port, http_port).run())
    except BindError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)  # noqa: T201
        return REFUSED


class _Parent:
    """Starts the child processes, waits for all of them, and passes signals to them."""

    def __init__(self, settings: ServeSettings, port: int, http_port: int | None) -> None:
        self._count = settings.effective_processes
        self._grace = settings.grace
        self._shares = [settings.share(index, port, http_port) for index in range(self._count)]
        self._children: list[Process] = []
        self._serving = 0
        self._all_serve = asyncio.Event()
        self._reloading: set[asyncio.Task[None]] = set()
        self._ending = False
        self._code = 0

    async def run(self) -> int:
        """Start all processes, wait until all have ended, and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        await asyncio.gather(*(self._attend(number, share) for number, share in enumerate(self._shares, 1)))
        return self._code

    async def _attend(self, number: int, share: ServeSettings) -> None:
        """Run one child from its start to its end."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stylewire_server.runtime.worker"),
            stdin=PIPE,
            stdout=PIPE,
            # Ctrl-C in a terminal goes to a whole process group. With a group of their own, the children get it from
            # the parent only, once.
            process_group=0,
            # Only the parent notifies systemd, when all children serve.
            env={name: value for name, value in os.environ.items() if name != systemd.VARIABLE},
        )
        assert child.stdin is not None and child.stdout is not None
        self._children.append(child)
        if self._ending:
            self._signal(signal.SIGTERM)
        child.stdin.write(share.model_dump_json().encode() + b"\n")
        said = ""
        async for line in child.stdout:
            text = line.decode().rstrip()
            if text.startswith("serving on "):
                self._serves(text)
            elif text.startswith("stylewire_server: "):
                said = text
        code = await child.wait()
        if not self._ending:
            told = f"{self._exit_message(number, code)}; the others finish their calls; start the server again"
            print(said or f"stylewire_server: {told}", file=sys.stderr)  # noqa: T201
            self._code = REFUSED if said and code == REFUSED else CRASHED
            self._end()
        elif code == -signal.SIGKILL:
            print(f"stylewire_server: {self._exit_message(number, code)}: it did not end by itself", file=sys.stderr)  # noqa: T201
            self._code = CRASHED

    def _serves(self, line: str) -> None:
        self._serving += 1
        if self._serving == self._count and not self._ending:
            banner = f"{line} processes={self._count}"
            systemd.serving(banner)
            self._all_serve.set()

    def _end(self) -> None:
        if not self._ending:
            systemd.stopping()
            asyncio.get_running_loop().call_later(self._grace + _AFTER_GRACE_SECONDS, self._signal, signal.SIGKILL)
        self._ending = True
        self._signal(signal.SIGTERM)

    def _reload(self) -> None:
        task = asyncio.create_task(self._pass_on_reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _pass_on_reload(self) -> None:
        # A child that does not serve yet may have no handler for the signal, which would then end it.
        await self._all_serve.wait()
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.returncode is None:
                # Not child.send_signal: it may collect the exit code of the process before asyncio does, which then
                # loses it.
                with suppress(ProcessLookupError):
                    os.kill(child.pid, number)

    def _exit_message(self, number: int, code: int) -> str:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"process {number} of {self._count} {how}"
