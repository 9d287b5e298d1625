"""The command line of the comparison: `stylewire-baseline compare|check …`."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .. import images
from ..objective import presets
from ..vgg import architecture
from ..vgg.precision import PRECISIONS
from .options import FAILURE, add_common_options


def register(commands: Any) -> None:
    """Add `compare` and `check` to the command line's subparsers."""
    one = commands.add_parser(
        "compare",
        help="compare feed-forward and optimized pictures on a web page",
        description="Every CONTENT under every STYLE, by one pass of the feed-forward network and by L-BFGS, scored "
        "alike: DIR/index.html, DIR/sheet.png and DIR/results.json. Run again, it goes on where it stopped.",
    )
    one.set_defaults(run_command=_compare)
    one.add_argument("--content", nargs="+", required=True, metavar="PATH", help="pictures, or folders of them")
    one.add_argument("--style", nargs="+", required=True, metavar="PATH", help="pictures, or folders of them")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the report")
    _server_options(one)
    group = one.add_argument_group("optimization")
    group.add_argument(
        "--iterations", type=int, default=100, metavar="N", help="iterations of L-BFGS, from the content (100)"
    )
    group.add_argument("--preset", choices=tuple(presets.PRESETS), default="magenta", help="cost to minimize (magenta)")
    group.add_argument("--size", type=int, default=256, metavar="PX", help="longer side of all pictures (256)")
    group.add_argument(
        "--network", choices=tuple(architecture.NETWORKS), default="vgg16", help="the network that measures (vgg16)"
    )
    group.add_argument("--weights", default="auto", metavar="FROM", help=".h5 or .npz file, auto, keras, offline")
    group.add_argument("--precision", choices=PRECISIONS, default="auto", help="precision of the convolutions (auto)")
    group.add_argument("--repeats", type=int, default=5, metavar="N", help="timed passes of each kind (5)")
    one.add_argument("--title", default="One pass against many", help="title of the page")
    _progress_options(one)

    two = commands.add_parser(
        "check",
        help="fail if the feed-forward pictures have got worse",
        description="Score today's feed-forward pictures of the pairs in a results file. Exit code 1 when a cost has "
        "risen by more than the margin, or when f32 and bf16 no longer agree.",
    )
    two.set_defaults(run_command=_check)
    two.add_argument("--baseline", type=Path, required=True, metavar="JSON", help="results.json of compare, or a part")
    _server_options(two)
    two.add_argument("--margin", type=float, metavar="SHARE", help="share by which a cost may rise (0.05: 5 %%)")
    two.add_argument("--parity-db", type=float, metavar="DB", help="least PSNR between the two precisions (40)")
    two.add_argument("--parity-server", metavar="HOST:PORT", help="a server with the other precision, with --server")
    two.add_argument("--no-parity", action="store_true", help="check the costs only")
    two.add_argument("--weights", default="auto", metavar="FROM", help=".h5 or .npz file, auto, keras, offline")
    two.add_argument("--update", action="store_true", help="write today's costs into the file and check nothing")
    _progress_options(two)


def _server_options(command: argparse.ArgumentParser) -> None:
    group = command.add_mutually_exclusive_group()
    group.add_argument("--server", metavar="HOST:PORT", help="a stylewire server that is running")
    group.add_argument("--model", default="auto", metavar="NAME", help="start a server: auto, full, lite, DIR (auto)")


def _progress_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    add_common_options(command)


def _end_on_sigterm() -> None:
    """Let SIGTERM end the process as Ctrl-C does, so that the server started here is stopped too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _start_server(stack: ExitStack, model: str, *flags: str) -> tuple[str, int]:
    """Start a server that `stack` stops; return HOST:PORT and its process id.

    Raises:
        FeedForwardError: The server did not become ready.
    """
    from stylewire_server.testing import ServerNotReady, running_server

    from ..feedforward import FeedForwardError

    try:
        server = stack.enter_context(running_server("--model", model, *flags))
    except ServerNotReady as error:
        last = str(error).strip().splitlines()[-1]
        raise FeedForwardError(f"the server for --model {model} did not become ready: {last}") from None
    return server.target, server.process.pid


def _calm_tensorflow(verbose: bool) -> None:
    """Silence TensorFlow's warning about compiling for new shapes, because every pair has another shape."""
    if not verbose:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _compare(arguments: argparse.Namespace) -> int:
    from ..comparison.compare import Plan, compare
    from ..comparison.report import write_report
    from ..feedforward import FeedForward

    _calm_tensorflow(arguments.verbose)
    _end_on_sigterm()
    plan = Plan(
        contents=images.files(arguments.content),
        styles=images.files(arguments.style),
        size=arguments.size,
        iterations=arguments.iterations,
        preset=arguments.preset,
        network=arguments.network,
        weights=arguments.weights,
        precision=arguments.precision,
        repeats=arguments.repeats,
    )
    with ExitStack() as stack:
        target, pid = (arguments.server, None) if arguments.server else _start_server(stack, arguments.model)
        feedforward = stack.enter_context(FeedForward(target))
        show = stack.enter_context(_bar(arguments.quiet))
        results = compare(plan, feedforward, arguments.out, server_pid=pid, callback=show)
    if results["pairs"]:
        write_report(results, arguments.out, title=arguments.title)
    for failure in results["failures"]:
        sys.stderr.write(f"error: {failure['content']} in {failure['style']}: {failure['error']}\n")
    done, total = len(results["pairs"]), len(plan.contents) * len(plan.styles)
    page = f": {arguments.out / 'index.html'}" if done else ""
    sys.stderr.write(f"{done} of {total} pairs{page}\n")
    return FAILURE if results["failures"] else 0


def _check(arguments: argparse.Namespace) -> int:
    from ..comparison import check as gate
    from ..errors import InvalidOption
    from ..feedforward import FeedForward

    if arguments.parity_server and not arguments.server:
        raise InvalidOption("--parity-server goes with --server; with --model both precisions are started here")
    _calm_tensorflow(arguments.verbose)
    _end_on_sigterm()
    baseline = gate.Baseline.read(arguments.baseline)
    with ExitStack() as stack:

        def connect(target: str | None, precision: str) -> FeedForward:
            if target is None:
                target, _ = _start_server(stack, arguments.model, "--precision", precision)
            return stack.enter_context(FeedForward(target))

        one = connect(arguments.server, "f32")
        model = one.model()
        if model["edition"] != baseline.edition:
            sys.stderr.write(f"warning: the baseline is of {baseline.edition}, the server has {model['edition']}\n")
        if arguments.update:
            gate.record(baseline, one.picture, model, arguments.baseline, arguments.weights)
            return 0
        other = None
        if not arguments.no_parity and (arguments.parity_server or not arguments.server):
            other = connect(arguments.parity_server, "bf16")
            if other.model()["precision"] == model["precision"]:
                sys.stderr.write(f"warning: both servers compute in {model['precision']}; parity says nothing\n")
        findings = gate.check(
            baseline,
            one.picture,
            other=other.picture if other else None,
            margin=gate.MARGIN if arguments.margin is None else arguments.margin,
            parity_db=gate.PARITY_DB if arguments.parity_db is None else arguments.parity_db,
            weights=arguments.weights,
        )
    bad = [finding for finding in findings if not finding.good]
    for finding in findings if not arguments.quiet else bad:
        sys.stdout.write(f"{'ok  ' if finding.good else 'FAIL'} {finding}\n")
    sys.stderr.write(f"{len(findings) - len(bad)} of {len(findings)} checks passed\n")
    return FAILURE if bad else 0


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Yield a function that shows a `Progress`: bars for pairs and iterations, and a line for each finished pair."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), disable=quiet) as bar:
        pairs = bar.add_task("pairs", total=None)
        inside = bar.add_task("preparing", total=None)

        def show(progress: Any) -> None:
            over = progress.state != "running"
            bar.update(pairs, completed=progress.number - (not over), total=progress.pairs)
            bar.update(inside, description=progress.name, completed=progress.done, total=progress.iterations)
            if over and not quiet:
                told = f"{progress.name}: {progress.message or progress.state}"
                bar.console.print(told, highlight=False, markup=False)

        yield show
