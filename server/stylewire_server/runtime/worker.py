"""One of several server processes: `python -m stylewire_server.runtime.worker`, started by `supervisor`.

Its settings come as one line of JSON on stdin, which stays open while the parent lives. It writes one line to stdout:
that it serves, or why it does not.
"""

import os
import signal
import sys
import threading

if __name__ == "__main__":
    # Before the imports, which take half a second: a server that is still starting has nothing to read again.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

from ..settings import ServeSettings
from .memory import configure_malloc


def main() -> int:
    """Serve one share of the work; return the exit code of `process.serve`. Drains when the parent has gone."""
    settings = ServeSettings.model_validate_json(sys.stdin.buffer.readline())
    configure_malloc()
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from . import process

    return process.serve(settings, share_port=True, errors=sys.stdout)


def _end_with_parent() -> None:
    # Not through sys.stdin: a thread that waits in it would hold its lock when the interpreter ends.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
