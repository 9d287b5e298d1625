"""How `serve` ends: its exit codes beyond 0, and the way out."""

import logging
import os
import sys
from typing import NoReturn

REFUSED = 1
"""A file, model or address cannot be used. It would be refused again: somebody has to look first."""

CRASHED = 70
"""EX_SOFTWARE of sysexits.h. A supervisor starts the server again."""


def leave(code: int) -> NoReturn:
    """Ends the process at once, where Python would wait for threads whose work nobody wants any more."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
