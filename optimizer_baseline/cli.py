"""The command line: `python -m optimizer_baseline stylize|score|compare|check|activations …`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from optimizer_baseline import cli_activations, cli_compare, presets, vgg
from optimizer_baseline.errors import BaselineError, InvalidOption, StopRun
from optimizer_baseline.optimize import OPTIMIZERS
from optimizer_baseline.precision import PRECISIONS
from optimizer_baseline.settings import DEFAULT_PRESET, INITS, Settings

if TYPE_CHECKING:
    from optimizer_baseline.runs import RunFolder
    from optimizer_baseline.transfer import Progress

log = logging.getLogger(__name__)

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
_WIDE = 100  # columns of a terminal in which the bar has room for every cost
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 1 for a failure, 2 for bad usage, 130 after Ctrl-C."""
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
    top = argparse.ArgumentParser(
        prog="python -m optimizer_baseline", description="Neural style transfer by optimising pixels (Gatys et al.)."
    )
    top.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser(
        "stylize",
        help="optimise a picture: content of one, style of others",
        description="Optimise the pixels of a picture until its VGG features have the content of CONTENT and the style "
        "of STYLE. Ctrl-C keeps the best picture so far.",
    )
    one.set_defaults(run_command=_stylize)
    one.add_argument("content", nargs="?", metavar="CONTENT", help="picture whose content is kept")
    one.add_argument("style", nargs="*", metavar="STYLE", help="picture, or several, whose style is taken")
    one.add_argument("-o", "--out", type=Path, metavar="OUT", help=f"result, one of {' '.join(PICTURE_SUFFIXES)}")
    _cost_options(one)
    group = one.add_argument_group("pictures")
    group.add_argument("--size", type=int, default=512, metavar="PX", help="longer side of the result (512)")
    group.add_argument("--style-size", type=int, metavar="PX", help="longer side of the styles (as --size)")
    group.add_argument("--style-weights", type=float, nargs="+", metavar="W", help="share of each style")
    group.add_argument("--masks", nargs="+", metavar="GREY", help="for each style where it goes (white), or - for all")
    group.add_argument("--preserve-color", action="store_true", help="keep the content's colours (luminance only, YIQ)")
    group = one.add_argument_group("optimisation")
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="lbfgs")
    group.add_argument("--iterations", type=int, metavar="N", help="at the finest scale (300)")
    group.add_argument("--coarse-iterations", type=int, metavar="N", help="at each coarser scale (as --iterations)")
    group.add_argument("--evaluations", type=int, metavar="N", help="stop after so many evaluations of the cost")
    group.add_argument("--learning-rate", type=float, metavar="R", help="largest change of a pixel a step (0.02)")
    group.add_argument("--scales", type=int, default=1, metavar="N", help="sizes, coarse to fine by sqrt(2) (1)")
    group.add_argument("--init", default="content", metavar="START", help=f"{', '.join(INITS)}, or a picture (content)")
    group.add_argument("--noise", type=float, default=0.5, metavar="0..1", help="share of it in content+noise (0.5)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (0)")
    group.add_argument("--server", metavar="HOST:PORT", help="stylewire server for --init feedforward")
    group = one.add_argument_group("progress")
    group.add_argument("--run", type=Path, metavar="DIR", help="new folder for snapshots, history, curves and film")
    group.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    group.add_argument("--snapshot-every", type=int, default=50, metavar="N", help="iterations between snapshots (50)")
    group.add_argument("--film", choices=("webp", "gif"), default="webp", help="format of the animation (webp)")
    group.add_argument("--quiet", action="store_true", help="no progress bar")

    two = commands.add_parser(
        "score",
        help="all costs of any picture",
        description="Costs of PICTURE as a stylisation of CONTENT by STYLE. Unweighted costs are before the content, "
        "style and variation weights; the total is after.",
    )
    two.set_defaults(run_command=_score)
    for name in ("content", "style", "picture"):
        two.add_argument(name, metavar=name.upper())
    _cost_options(two, precision="f32")
    two.add_argument("--size", type=int, default=256, metavar="PX", help="longer side at which to compare (256)")
    two.add_argument("--json", action="store_true", help="print one JSON object")

    cli_compare.register(commands)
    cli_activations.register(commands)
    return top


def _cost_options(command: argparse.ArgumentParser, precision: str = "auto") -> None:
    group = command.add_argument_group("cost")
    group.add_argument("--preset", choices=tuple(presets.PRESETS), default=DEFAULT_PRESET, help=f"({DEFAULT_PRESET})")
    group.add_argument("--network", choices=tuple(vgg.NETWORKS), help="in place of the preset's own")
    group.add_argument("--pooling", choices=vgg.POOLINGS, help="in place of the preset's own")
    group.add_argument("--content-layers", metavar="NAME[=W],…", help="e.g. relu4_2 or relu3_3=0.5,relu4_2=1")
    group.add_argument("--style-layers", metavar="NAME[=W],…", help="e.g. relu1_1=0.5,relu2_1=0.5")
    group.add_argument("--content-weight", type=float, metavar="W", help="alpha")
    group.add_argument("--style-weight", type=float, metavar="W", help="beta")
    group.add_argument("--variation-weight", type=float, metavar="W", help="of total variation")
    group.add_argument(
        "--weights", default="auto", metavar="FROM", help=".h5 or .npz file, auto, keras, offline, random"
    )
    group.add_argument("--rescale", nargs="+", default=[], metavar="PICTURE", help="rescale the network on these")
    group.add_argument("--precision", choices=PRECISIONS, default=precision, help=f"of the convolutions ({precision})")
    command.add_argument("--threads", type=int, metavar="N", help="processor cores to use (all)")
    command.add_argument("--verbose", action="store_true", help="log what happens")


def _preset(arguments: argparse.Namespace) -> presets.Preset:
    changes: dict[str, Any] = {
        name: value
        for name in ("network", "pooling", "content_weight", "style_weight", "variation_weight")
        if (value := getattr(arguments, name)) is not None
    }
    for name in ("content_layers", "style_layers"):
        if (text := getattr(arguments, name)) is not None:
            changes[name] = _layer_weights(text)
    return presets.preset(arguments.preset).replace(**changes)


def _layer_weights(text: str) -> dict[str, float]:
    table = {}
    for item in filter(None, text.split(",")):
        layer, _, weight = item.partition("=")
        try:
            table[layer.strip()] = float(weight or 1.0)
        except ValueError:
            raise InvalidOption(f"weight of layer {layer} is {weight!r}; expected a number") from None
    return table


def _score(arguments: argparse.Namespace) -> int:
    from optimizer_baseline.scoring import score

    outcome = score(
        arguments.content,
        arguments.style,
        arguments.picture,
        preset=_preset(arguments),
        size=arguments.size,
        weights=arguments.weights,
        rescale=arguments.rescale,
        precision=arguments.precision,
    )
    if arguments.json:
        sys.stdout.write(json.dumps(outcome.as_dict(), indent=2) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    costs = outcome.costs
    title = f"{outcome.preset}, {outcome.network}, {outcome.width}x{outcome.height} px, {outcome.precision}"
    table = Table("cost", "unweighted", "weighted", title=title)
    rows = [("content", costs.content_cost, costs.weighted_content_cost)]
    rows += [
        (f"style {layer}", value, costs.weighted_style_cost_by_layer[layer])
        for layer, value in costs.style_cost_by_layer.items()
    ]
    rows += [
        ("style, all layers", costs.style_cost, costs.weighted_style_cost),
        ("total variation", costs.total_variation, costs.weighted_total_variation),
    ]
    for name, raw, weighted in rows:
        table.add_row(name, f"{raw:.6g}", f"{weighted:.6g}")
    table.add_section()
    table.add_row("total", "", f"{costs.total_cost:.6g}")
    for column in table.columns[1:]:
        column.justify = "right"
    Console().print(table)
    return 0


# What a run's folder does not remember, because it is the new command's to say when the run is resumed.
_TRANSIENT = {"run_command", "run", "resume", "snapshot_every", "film", "quiet", "threads", "verbose", "server"}
# What may be asked for anew: more of it, and another file for the result.
_RENEWABLE = {"iterations", "evaluations", "out"}
_PATHS = ("content", "out")
_PATH_LISTS = ("style", "rescale", "masks")


def _remember(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of a run for its folder, with absolute paths: it may be resumed from elsewhere."""
    table = {name: value for name, value in vars(arguments).items() if name not in _TRANSIENT}
    for name in _PATHS:
        table[name] = str(Path(table[name]).absolute())
    for name in _PATH_LISTS:
        if table[name]:
            table[name] = [p if p == "-" else str(Path(p).absolute()) for p in table[name]]
    for name, words in (("init", INITS), ("weights", ("auto", "keras", "offline"))):
        if table[name] not in words and Path(table[name]).exists():
            table[name] = str(Path(table[name]).absolute())
    return table


def _stylize(arguments: argparse.Namespace) -> int:
    from optimizer_baseline.runs import RunFolder
    from optimizer_baseline.transfer import stylize

    folder = None
    state = None
    if arguments.resume is not None:
        if arguments.content or arguments.run:
            raise InvalidOption("--resume takes its pictures and its folder from the run; give neither")
        folder = RunFolder(arguments.resume)
        remembered, state = folder.open()
        unasked = vars(parser().parse_args(["stylize"]))
        for name, value in remembered.items():
            asked = getattr(arguments, name) != unasked[name]
            if asked and name not in _RENEWABLE and getattr(arguments, name) != value:
                flag = f"--{name.replace('_', '-')}"
                raise InvalidOption(
                    f"{flag} is {getattr(arguments, name)}; the run to resume has {value}, and keeps it"
                )
            if not asked:
                setattr(arguments, name, value)
    elif not arguments.content or not arguments.style or arguments.out is None:
        raise InvalidOption("stylize needs CONTENT, at least one STYLE, and -o OUT (or --resume DIR)")
    if arguments.snapshot_every < 1:
        raise InvalidOption(f"--snapshot-every is {arguments.snapshot_every}; the least is 1 iteration")
    out = Path(arguments.out)
    if out.suffix.lower() not in PICTURE_SUFFIXES:
        raise InvalidOption(f"{out} has suffix {out.suffix!r}; a result is one of {' '.join(PICTURE_SUFFIXES)}")
    _check_writable(out, [arguments.content, *arguments.style, *(arguments.masks or []), arguments.init])
    settings = Settings(
        preset=_preset(arguments),
        weights=arguments.weights,
        rescale=tuple(arguments.rescale),
        precision=arguments.precision,
        size=arguments.size,
        style_size=arguments.style_size,
        optimizer=arguments.optimizer,
        iterations=300 if arguments.iterations is None else arguments.iterations,
        coarse_iterations=arguments.coarse_iterations,
        evaluations=arguments.evaluations,
        learning_rate=arguments.learning_rate,
        init=arguments.init,
        noise=arguments.noise,
        seed=arguments.seed,
        scales=arguments.scales,
        preserve_color=arguments.preserve_color,
    )
    if arguments.resume is not None and folder is not None:
        folder.remember(_remember(arguments))
    if arguments.run is not None:
        folder = RunFolder(arguments.run)
        folder.create(_remember(arguments))

    with _bar(arguments.quiet) as show, _interruptible() as interrupted:
        latest: list[Progress] = []

        def on_iteration(progress: Progress) -> None:
            show(progress)
            latest[:] = [progress]
            if folder is not None:
                folder.add(progress)
                at_end = interrupted.is_set() or progress.iteration == progress.iterations
                if at_end or progress.iteration % arguments.snapshot_every == 0:
                    _snapshot(folder, progress)
            if interrupted.is_set():
                raise StopRun("interrupted")

        result = stylize(
            arguments.content,
            arguments.style,
            settings=settings,
            style_weights=arguments.style_weights,
            masks=None if arguments.masks is None else [None if m == "-" else m for m in arguments.masks],
            callback=on_iteration,
            server=arguments.server,
            resume=state,
        )
        result.picture.save(out, quality=95)
        if folder is not None:
            # A run that ended early for another reason (evaluations, divergence) has its last iterations unsaved.
            if latest and not (folder.snapshots / f"{latest[0].iteration:06d}.png").exists():
                _snapshot(folder, latest[0])
            folder.finish(arguments.film)
    sys.stderr.write(
        f"{out}: cost {result.costs.total_cost:.6g} after {result.evaluations} evaluations, {result.seconds:.1f} s, "
        f"{result.precision}{f' ({result.stopped})' if result.stopped else ''}\n"
    )
    return INTERRUPTED if interrupted.is_set() else 0


def _snapshot(folder: RunFolder, progress: Progress) -> None:
    try:
        folder.snapshot(progress)
    except OSError as error:
        # A disk that is full costs a snapshot, and not the hours before it.
        log.warning("iteration %d is not saved in %s: %s", progress.iteration, folder.path, error)


def _check_writable(out: Path, read: Iterable[str]) -> None:
    """Before the work, and not after it. The folder is made.

    Raises:
        InvalidOption: The result would take the place of a picture that it is made from.
        OSError: The result cannot be written there.
    """
    if out.is_dir():
        raise InvalidOption(f"{out} is a folder; the result is a file")
    if out.exists() and any(Path(path).exists() and out.samefile(path) for path in read):
        raise InvalidOption(f"{out} is a picture to read; write to another file")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
        if out.exists():
            out.open("r+b").close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out)) from None


@contextmanager
def _bar(quiet: bool) -> Iterator[Any]:
    """A live bar with the costs, on standard error; yields what to call with each `Progress`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    costs = "cost {task.fields[total_cost]:.4g}"
    if console.width >= _WIDE:
        costs += "  content {task.fields[content]:.4g}  style {task.fields[style]:.4g}"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(costs),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, disable=quiet, expand=True) as bar:
        nan = float("nan")
        task = bar.add_task("preparing", total=None, total_cost=nan, content=nan, style=nan)

        def show(progress: Any) -> None:
            bar.update(
                task,
                description=f"{progress.width}x{progress.height}",
                completed=progress.iteration,
                total=progress.iterations,
                total_cost=progress.costs.total_cost,
                content=progress.costs.weighted_content_cost,
                style=progress.costs.weighted_style_cost,
            )

        yield show


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts at once."""
    event = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet_tensorflow(verbose: bool) -> Iterator[None]:
    """Keeps TensorFlow's start-up chatter, which its C++ writes past every setting, out of standard error."""
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
        raise InvalidOption(f"--threads is {threads}; the least is 1")
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    # The chatter comes with the first tensor, not with the import.
    tf.constant(0.0)
