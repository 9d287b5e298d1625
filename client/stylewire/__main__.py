"""`python -m stylewire`: the same as the command `stylewire`."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from .cli.main import main, parser

__all__ = ["main", "parser", "run"]


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    code = main()
    if "stylewire_server.local" in sys.modules:
        # Freeing the engine would take a tenth of the time of a local picture. All files are closed by now.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
