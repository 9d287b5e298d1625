"""The command line of a run: `stylewire-baseline stylize …`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .. import images
from ..color import TRANSFERS
from ..errors import InvalidOption, StopRun
from ..optimize import OPTIMIZERS
from ..settings import DEFAULT_PRESET, INITS, Settings, published
from ..vgg.rescale import load_rescaled
from .options import INTERRUPTED, add_common_options, add_cost_options, preset_of
from .progress import cost_bar

if TYPE_CHECKING:
    from ..runs import RunFolder
    from ..transfer import Progress

log = logging.getLogger(__name__)


def register(commands: Any) -> None:
    """Add `stylize` to the command line's subparsers."""
    one = commands.add_parser(
        "stylize",
        help="optimize a picture with the content of one picture and the style of others",
        description="Optimize the pixels of a picture until its VGG features have the content of CONTENT and the style "
        "of STYLE. Ctrl-C keeps the best picture so far.",
        # A resumed run keeps options that are not given. So a given option must be known, even with its default.
        argument_default=argparse.SUPPRESS,
    )
    one.set_defaults(run_command=lambda arguments: _stylize(_expanded(vars(arguments))))
    usual = _USUAL
    one.add_argument("content", nargs="?", metavar="CONTENT", help="picture with the content")
    one.add_argument("style", nargs="*", metavar="STYLE", help="one or more pictures with the style")
    one.add_argument(
        "-o", "--out", metavar="OUT", help=f"result, one of {' '.join(images.SUFFIXES)}; a folder with --contents"
    )
    one.add_argument("--contents", nargs="+", metavar="PATH", help="further contents, or folders of them")
    add_cost_options(one)
    group = one.add_argument_group("pictures")
    group.add_argument("--size", type=int, metavar="PX", help=f"longer side of the result ({usual['size']})")
    group.add_argument("--style-size", type=int, metavar="PX", help="longer side of the styles (as --size)")
    group.add_argument("--style-weights", type=float, nargs="+", metavar="W", help="share of each style")
    group.add_argument(
        "--masks", nargs="+", metavar="GRAY", help="a mask for each style, white where it goes, or - for all"
    )
    group.add_argument("--preserve-color", action="store_true", help="keep the content's colors (luminance only, YIQ)")
    group.add_argument("--color-transfer", choices=tuple(TRANSFERS), help="give the styles the content's colors first")
    group.add_argument("--bits", type=int, choices=(8, 16), help="depth of the result; 16 for .png (8)")
    group.add_argument("--tile", type=int, metavar="PX", help="compute larger pictures in tiles, with less memory")
    group.add_argument("--any-size", action="store_true", help="start without the memory that the run needs")
    group = one.add_argument_group("optimization")
    group.add_argument("--as-published", action="store_true", help="the source's start, optimizer, iterations and size")
    group.add_argument("--optimizer", choices=OPTIMIZERS, help=f"optimizer ({usual['optimizer']})")
    group.add_argument(
        "--iterations", type=int, metavar="N", help=f"iterations at the finest scale ({usual['iterations']})"
    )
    group.add_argument(
        "--coarse-iterations", type=int, metavar="N", help="iterations at each coarser scale (as --iterations)"
    )
    group.add_argument("--evaluations", type=int, metavar="N", help="stop after so many evaluations of the cost")
    group.add_argument("--learning-rate", type=float, metavar="R", help="largest change of a pixel a step (0.02)")
    group.add_argument(
        "--normalize-gradients", action="store_true", help="scale the gradient of each layer's cost, for adam"
    )
    group.add_argument("--scales", type=int, metavar="N", help=f"sizes, coarse to fine by sqrt(2) ({usual['scales']})")
    group.add_argument("--init", metavar="START", help=f"{', '.join(INITS)}, or a picture ({usual['init']})")
    group.add_argument(
        "--noise", type=float, metavar="0..1", help=f"share of noise in content+noise ({usual['noise']})"
    )
    group.add_argument("--seed", type=int, metavar="N", help=f"seed of the noise ({usual['seed']})")
    group.add_argument("--server", metavar="HOST:PORT", help="stylewire server for --init feedforward")
    group = one.add_argument_group("progress")
    group.add_argument("--run", type=Path, metavar="DIR", help="new folder for snapshots, history, curves and film")
    group.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    group.add_argument("--snapshot-every", type=int, metavar="N", help=f"iterations between snapshots ({_EVERY})")
    group.add_argument("--film", choices=("webp", "gif"), help=f"format of the animation ({_FILM})")
    group.add_argument(
        "--preview", type=int, nargs="?", const=0, metavar="PORT", help="show the run on a page of this machine"
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    add_common_options(one)


_USUAL = {field.name: field.default for field in dataclasses.fields(Settings) if field.init}
_EVERY, _FILM = 50, "webp"
# Options that the folder of a run does not keep, because the command that resumes it sets them anew.
_TRANSIENT = {
    "run_command",
    "preview",
    "run",
    "resume",
    "snapshot_every",
    "film",
    "quiet",
    "threads",
    "verbose",
    "server",
}
# Options that may change when a run is resumed: more iterations, and another file for the result.
_RENEWABLE = {"iterations", "evaluations", "out"}
_PATHS = ("content", "out")
_PATH_LISTS = ("style", "rescale", "masks")


def _expanded(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with the options that --as-published stands for. Options in `given` take precedence."""
    table = dict(given)
    if table.pop("as_published", False):
        table = {**published(given.get("preset", DEFAULT_PRESET)), **table}
        table = {name: value for name, value in table.items() if value is not None}
    return table


def _remember(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a run for its folder. Paths are absolute, because a run may be resumed from elsewhere."""
    table = {name: value for name, value in {**_USUAL, **given}.items() if name not in _TRANSIENT}
    for name in _PATHS:
        table[name] = str(Path(table[name]).absolute())
    for name in _PATH_LISTS:
        if table.get(name):
            table[name] = [p if p == "-" else str(Path(p).absolute()) for p in table[name]]
    for name, words in (("init", INITS), ("weights", ("auto", "keras", "offline"))):
        if table[name] not in words and Path(table[name]).exists():
            table[name] = str(Path(table[name]).absolute())
    return table


def _recall(given: Mapping[str, Any], remembered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the resumed run, updated with those that may change.

    Raises:
        InvalidOption: An option was given that must not change.
    """
    for name, value in given.items():
        if name in remembered and name not in _RENEWABLE and remembered[name] != value:
            flag = f"--{name.replace('_', '-')}"
            raise InvalidOption(f"{flag} is {value}; the run to resume has {remembered[name]}, and keeps it")
    return {**remembered, **given}


def _settings(given: Mapping[str, Any]) -> Settings:
    asked = {name: given[name] for name in _USUAL if given.get(name) is not None}
    return Settings(**asked | {"preset": preset_of(given, DEFAULT_PRESET)})


def _several(given: Mapping[str, Any]) -> int:
    """Run `stylize` for each of several contents, with the pictures named after them in the folder OUT."""
    if {"run", "resume"} & given.keys():
        raise InvalidOption("a run's folder is for one content; leave out --contents, or --run and --resume")
    if not given.get("content") or not given.get("style") or "out" not in given:
        raise InvalidOption("stylize needs CONTENT, at least one STYLE, and -o FOLDER")
    folder = Path(given["out"])
    if folder.suffix.lower() in images.SUFFIXES or folder.is_file():
        raise InvalidOption(f"{folder} is a file; with --contents, -o is a folder")
    contents = images.files([given["content"], *given["contents"]])
    names = [path.stem for path in contents]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidOption(f"two contents are called {sorted(twice)[0]!r}; their results would have one name")
    settings = _settings(given)
    # All contents share one set of weights, and so one compiled program.
    loaded = load_rescaled(settings.cost.network, settings.weights, settings.rescale, settings.cost.pooling)
    one = {name: value for name, value in given.items() if name not in ("contents", "rescale")}
    for path in contents:
        code = _stylize({**one, "content": str(path), "out": str(folder / f"{path.stem}.png"), "weights": loaded})
        if code:
            return code
    return 0


def _stylize(given: Mapping[str, Any]) -> int:
    """Run the command. `given` has only the options that were given."""
    from ..runs import RunFolder
    from ..transfer import stylize

    if "contents" in given:
        return _several(given)
    folder = None
    state = None
    resume = given.get("resume")
    if resume is not None:
        if "content" in given or "run" in given:
            raise InvalidOption("--resume takes its pictures and its folder from the run; give neither")
        folder = RunFolder(resume)
        remembered, state = folder.open()
        given = _recall(given, remembered)
    elif not given.get("content") or not given.get("style") or "out" not in given:
        raise InvalidOption("stylize needs CONTENT, at least one STYLE, and -o OUT (or --resume DIR)")
    every, masks, bits = given.get("snapshot_every", _EVERY), given.get("masks"), given.get("bits", 8)
    settings = _settings(given)
    out = _output(given, settings)
    if "run" in given:
        folder = RunFolder(given["run"])
        folder.create(_remember(given))

    with _watched(given) as show, interruptible() as interrupted:
        latest: list[Progress] = []

        def on_iteration(progress: Progress) -> None:
            show(progress)
            if folder is not None:
                if resume is not None and not latest:
                    # The run goes on, so save the changed options.
                    folder.remember(_remember(given))
                folder.add(progress)
                at_end = interrupted.is_set() or progress.iteration == progress.iterations
                if at_end or progress.iteration % every == 0:
                    _snapshot(folder, progress)
            latest[:] = [progress]
            if interrupted.is_set():
                raise StopRun("interrupted")

        result = stylize(
            given["content"],
            given["style"],
            settings=settings,
            style_weights=given.get("style_weights"),
            masks=None if masks is None else [None if m == "-" else m for m in masks],
            callback=on_iteration,
            server=given.get("server"),
            resume=state,
        )
        result.save(out, bits)
        if folder is not None:
            # A run that ended early for another reason (evaluations, divergence) has its last iterations unsaved.
            if latest and not (folder.snapshots / f"{latest[0].iteration:06d}.png").exists():
                _snapshot(folder, latest[0])
            folder.finish(given.get("film", _FILM))
    sys.stderr.write(
        f"{out}: cost {result.costs.total_cost:.6g} after {result.evaluations} evaluations, {result.seconds:.1f} s, "
        f"{result.precision}{f' ({result.stopped})' if result.stopped else ''}\n"
    )
    return INTERRUPTED if interrupted.is_set() else 0


def _snapshot(folder: RunFolder, progress: Progress) -> None:
    try:
        folder.snapshot(progress)
    except OSError as error:
        # A full disk must cost only a snapshot, and not the hours before it.
        log.warning("iteration %d is not saved in %s: %s", progress.iteration, folder.path, error)


def _output(given: Mapping[str, Any], settings: Settings) -> Path:
    """Return the path of the result, after a check that it can be written.

    Raises:
        InvalidOption: The name, the depth or the steps between snapshots are wrong, or `_check_writable` raises it.
        OSError: `_check_writable` raises it.
    """
    every = given.get("snapshot_every", _EVERY)
    if every < 1:
        raise InvalidOption(f"--snapshot-every is {every}; the minimum is 1 iteration")
    out = Path(given["out"])
    if out.suffix.lower() not in images.SUFFIXES:
        raise InvalidOption(f"{out} has suffix {out.suffix!r}; a result is one of {' '.join(images.SUFFIXES)}")
    images.check_bits(out, given.get("bits", 8))
    _check_writable(out, [given["content"], *given["style"], *(given.get("masks") or []), settings.init])
    return out


def _check_writable(out: Path, read: Iterable[str]) -> None:
    """Check, before the work, that the result can be written. The folder is made.

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
def _watched(given: Mapping[str, Any]) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows a `Progress`: on the progress bar, and on the preview if there is one."""
    from ..preview import Preview

    with _bar("quiet" in given) as bar:
        if "preview" not in given:
            yield bar
            return
        with Preview(given["preview"]) as preview:
            sys.stderr.write(f"preview on {preview.url}\n")

            def show(progress: Progress) -> None:
                bar(progress)
                preview.show(progress)

            yield show


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows a `Progress` as a bar with the costs, on standard error."""
    with cost_bar(quiet) as bar:

        def show(progress: Progress) -> None:
            costs = progress.costs
            more = f"  content {costs.weighted_content_cost:.4g}  style {costs.weighted_style_cost:.4g}"
            size = f"{progress.width}x{progress.height}"
            bar(size, progress.iteration, progress.iterations, f"cost {costs.total_cost:.4g}", more)

        yield show


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second one interrupts at once."""
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
