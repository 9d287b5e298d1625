"""Files that SIGHUP reads again."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Reloader:
    """Hooks that read files again: tokens, certificates, a folder of styles."""

    def __init__(self) -> None:
        self._hooks: list[tuple[str, Callable[[], object]]] = []
        self._lock = asyncio.Lock()

    def add(self, name: str, hook: Callable[[], object]) -> None:
        """Add a hook, which runs in a thread. A hook that fails must leave the old values in force."""
        self._hooks.append((name, hook))

    async def reload(self) -> None:
        """Run all hooks one after another and log the results. A hook that fails does not stop the others."""
        async with self._lock:
            for name, hook in self._hooks:
                try:
                    await asyncio.to_thread(hook)
                except Exception as error:
                    log.error("%s not reloaded, and left as they were: %s", name, error)
                else:
                    log.info("%s reloaded", name)
