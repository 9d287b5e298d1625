"""`python -m stylewire_server`: what has to be in place before anything is imported."""

import os
import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    if sys.argv[1:2] == ["serve"]:
        # A server that is still starting has nothing to read again and nothing to finish, and left to themselves these
        # signals end it as if it had failed.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
        # What gRPC itself writes to stderr is of no log format, and what an operator needs of it is logged here.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from .cli.main import main
    except ModuleNotFoundError as error:
        sys.exit(f"stylewire_server: {error.name} is not installed: pip install 'stylewire[server]'")
    sys.exit(main())


if __name__ == "__main__":
    run()
