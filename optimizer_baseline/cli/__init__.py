"""The command line: `stylewire-baseline stylize|score|compare|check|activations …`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from stylewire_server.engine.import_tensorflow import import_tensorflow

from ..errors import BaselineError, InvalidOption
from . import activations, compare, score, stylize, tune
from .options import FAILURE, INTERRUPTED, USAGE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for bad usage, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        with _quiet_tensorflow(arguments.verbose):
            _threads(arguments.threads)
        return int(arguments.run_command(arguments))
    except InvalidOption as error:
        return _fail(error, USAGE)
    except (BaselineError, OSError) as error:
        return _fail(error, FAILURE)
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed: pip install 'stylewire[baseline]'", FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED


def _fail(error: Exception | str, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line. Each command sets `run_command`."""
    top = argparse.ArgumentParser(
        prog="stylewire-baseline", description="Neural style transfer by optimizing pixels (Gatys et al.)."
    )
    top.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (stylize, score, tune, compare, activations):
        module.register(commands)
    return top


@contextmanager
def _quiet_tensorflow(verbose: bool) -> Iterator[None]:
    """Keep TensorFlow's start-up messages out of standard error. Its C++ code ignores every setting for them."""
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def _threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise InvalidOption(f"--threads is {threads}; the minimum is 1")
    import_tensorflow()
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    # The messages come with the first tensor, not with the import.
    tf.constant(0.0)
