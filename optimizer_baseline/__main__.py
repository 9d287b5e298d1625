"""`python -m optimizer_baseline`, and the console command `stylewire-baseline`."""

import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        from .cli import main
    except ModuleNotFoundError as error:
        sys.exit(f"stylewire-baseline: {error.name} is not installed: pip install 'stylewire[baseline]'")
    sys.exit(main())


if __name__ == "__main__":
    run()
