"""`python -m stylewire`: the same as the command `stylewire`."""

import sys
from typing import NoReturn

from .cli.main import main, parser

__all__ = ["main", "parser", "run"]


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
