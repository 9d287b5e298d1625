"""`python -m optimizer_baseline`, and the console command `stylewire-baseline`."""

import sys
from typing import NoReturn

from .cli import main


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
