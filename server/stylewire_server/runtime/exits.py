"""The exit codes of `serve` other than 0, and the immediate exit."""

import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn

REFUSED = 1
"""A file, model or address cannot be used. A restart would fail again until the operator corrects it."""

CRASHED = 70
"""EX_SOFTWARE of sysexits.h. A supervisor starts the server again."""


def exit_now(code: int) -> NoReturn:
    """End the process at once, without Python's own exit.

    That would wait for threads whose results are not needed any more. It would also run the destructors of C++
    libraries while their threads still end, which aborted one of eight servers after SIGTERM ("terminate called
    without an active exception").
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):
            stream.flush()
    os._exit(code)
