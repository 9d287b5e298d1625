"""`python -m stylewire_server`: sets signal handlers before the slow imports, then runs the command line."""

import os
import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    if sys.argv[1:2] == ["serve"]:
        # During the start there are no files to read again and no calls to finish. The default handlers would end the
        # process as if it had failed.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
        # gRPC writes to stderr in a format of its own. This server logs what an operator needs of it.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from .cli.main import main

    code = main()
    if sys.argv[1:2] == ["serve"]:
        from .runtime.exits import exit_now

        exit_now(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
