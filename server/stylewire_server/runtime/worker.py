"""One of several server processes: `python -m stylewire_server.runtime.worker`, started by `supervisor`.

The worker reads its settings as one line of JSON from stdin, which stays open while the parent runs. It writes one line
to stdout: either that it serves, or the reason why it does not.
"""

import os
import signal
import sys
import threading

if __name__ == "__main__":
    # Set before the imports, which take half a second. A server that is starting can ignore SIGHUP.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

from ..settings import ServeSettings
from .exits import exit_now
from .memory import configure_malloc


def main() -> int:
    """Serve one share of the work, and drain when the parent has ended. Return the exit code of `process.serve`."""
    settings = ServeSettings.model_validate_json(sys.stdin.buffer.readline())
    configure_malloc()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from . import process

    return process.serve(settings, share_port=True, errors=sys.stdout)


def _end_with_parent() -> None:
    # Not sys.stdin.read: a thread that waits in it would hold its lock when the interpreter ends.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    exit_now(main())
