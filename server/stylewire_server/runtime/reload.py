"""What SIGHUP reads again."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Reloader:
    """Hooks that read something again: tokens, certificates, a folder of styles."""

    def __init__(self) -> None:
        self._hooks: list[tuple[str, Callable[[], object]]] = []
        self._lock = asyncio.Lock()

    def add(self, name: str, hook: Callable[[], object]) -> None:
        """Joins the list. The hook runs in a thread; one that fails must leave what was in force as it was."""
        self._hooks.append((name, hook))

    async def reload(self) -> None:
        """Runs every hook, one after another, and logs how it went; a hook that fails stops no other."""
        async with self._lock:
            for name, hook in self._hooks:
                try:
                    await asyncio.to_thread(hook)
                except Exception as error:
                    log.error("%s not reloaded, and left as they were: %s", name, error)
                else:
                    log.info("%s reloaded", name)
