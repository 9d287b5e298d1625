"""`stylize CONTENT… STYLE -o OUT`: a command for single pictures, folders, and standard input and output."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..client import Client
from ..errors import InvalidRequest, StyleNotFound, StylewireError, Unauthenticated
from ..messages import StyleLike, Stylized
from ..options import Encoding, Options, add_option_flags, options_of
from ..pictures import is_picture
from .locations import files_within, location, remote_errors, write
from .progress import Progress
from .shared import (
    FORMATS,
    STREAM,
    UsageError,
    add_json_flag,
    add_style_flag,
    blend_of,
    format_of,
    is_remote,
    refuse_to_overwrite,
    say,
    style_files,
)

JOBS = 4

_SUFFIXES = {".gif": ".png", ".bmp": ".png", ".tif": ".png", ".tiff": ".png", ".heic": ".jpg", ".heif": ".jpg"}
"""Suffix of a format that is only read -> suffix of the result. PNG is lossless; HEIC is usually a photograph."""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "stylize",
        help="stylize pictures",
        description="Stylize one picture into a file, or several and whole folders into a folder.",
        epilog="Examples: stylize photo.jpg painting.jpg -o out.png; stylize photos/ wave -o out/; "
        "stylize photos/ --style wave=2 --style painting.jpg=1 -o out/; stylize s3://bucket/photos wave -o out/; "
        "stylize - wave -o - < photo.jpg > out.jpg",
    )
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="CONTENT… STYLE",
        help="pictures or folders, also URLs such as s3://bucket/photos, then the style if no --style is given; - is "
        "standard input",
    )
    add_style_flag(parser, required=False)
    parser.add_argument(
        "-o", "--out", required=True, help=f"a file ({', '.join(FORMATS)}), a folder, or - for standard output"
    )
    add_option_flags(parser, fit="crop")
    parser.add_argument(
        "--format",
        choices=("jpg", "png", "webp", "avif"),
        help="format of the results in a folder or on standard output (default: each as its content)",
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave out contents whose result exists")
    parser.add_argument("--jobs", type=int, default=JOBS, help="requests at one time (default: %(default)s)")
    add_json_flag(parser)
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _Job:
    """A content and the file of its result; STREAM for standard input or output."""

    content: Path
    out: Path
    encoding: Encoding | None


@dataclass(frozen=True)
class _Outcome:
    """The outcome for a content: `done`, `skipped` or `failed`, with a result or a reason."""

    content: Path
    status: str
    out: Path | None = None
    result: Stylized | None = None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as a JSON object for `--json`."""
        value: dict[str, Any] = {"content": str(self.content), "status": self.status}
        if self.out is not None:
            value["out"] = str(self.out)
        if self.result is not None:
            result = self.result
            value |= {"width": result.width, "height": result.height, "model": result.model}
            value["timings"] = vars(result.timings)
        if self.reason:
            value["reason"] = self.reason
        return value


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code."""
    contents, styles = arguments.pictures, arguments.styles
    if not styles:
        if len(contents) < 2:
            raise UsageError("give at least one content and one style")
        contents, styles = contents[:-1], contents[-1:]
    if arguments.jobs < 1:
        raise UsageError(f"--jobs is {arguments.jobs}; it must be at least 1")
    places, out = [location(content) for content in contents], location(arguments.out)
    waiting = []
    with remote_errors(*places, out):
        jobs, outcomes = _plan(places, out, arguments.format)
        refuse_to_overwrite((job.out for job in jobs), [*(job.content for job in jobs), *style_files(styles)])
        for job in jobs:
            if arguments.skip_existing and job.out.exists():
                outcomes.append(_Outcome(job.content, "skipped", job.out, reason="its result exists"))
            else:
                waiting.append(job)
        single = len(jobs) == 1 and not outcomes and not places[0].is_dir()
    options, blend = options_of(arguments), blend_of(styles)
    if single and waiting:
        outcomes.append(_run_one(client, jobs[0], blend, options, arguments.json))
    elif waiting:
        outcomes += _run_all(client, waiting, blend, options, arguments.jobs)
    return _report(outcomes, arguments, single)


def _report(outcomes: list[_Outcome], arguments: argparse.Namespace, single: bool) -> int:
    counts = Counter(outcome.status for outcome in outcomes)
    summary = {status: counts[status] for status in ("done", "skipped", "failed")}
    outcomes = sorted(outcomes, key=lambda outcome: str(outcome.content))
    value = {"pictures": [outcome.as_json() for outcome in outcomes], **summary}
    if single and outcomes[0].result is not None:
        result = outcomes[0].result
        text = f"{arguments.out}: {result.width}x{result.height} px by {result.model}"
    else:
        lines = [f"{outcome.content}: {outcome.status}, {outcome.reason}" for outcome in outcomes if outcome.reason]
        text = "\n".join([*lines, f"{counts['done']} stylized, {counts['skipped']} skipped, {counts['failed']} failed"])
    say(arguments, text, value)
    return 1 if counts["failed"] else 0


def _run_one(client: Client, job: _Job, blend: StyleLike, options: Options, catch: bool) -> _Outcome:
    """Run one job. Its error is raised, or returned if a script reads it (`--json`)."""
    try:
        return _Outcome(job.content, "done", job.out, _stylize(client, job, blend, options))
    except (StylewireError, OSError) as error:
        if not catch:
            raise
        return _failed(job, error)


def _failed(job: _Job, error: StylewireError | OSError) -> _Outcome:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _Outcome(job.content, "failed", reason=reason)


def _run_all(client: Client, jobs: list[_Job], blend: StyleLike, options: Options, width: int) -> Iterator[_Outcome]:
    """Run all jobs, `--jobs` of them at one time.

    Raises:
        StylewireError: A job failed for a reason that concerns all jobs.
    """
    with Progress(len(jobs), "pictures") as progress, ThreadPoolExecutor(width) as threads:
        running: dict[Future[Stylized], _Job] = {}
        rest = iter(jobs)
        try:
            while True:
                for job in rest:
                    running[threads.submit(_stylize, client, job, blend, options)] = job
                    if len(running) >= width:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        yield _Outcome(job.content, "done", job.out, future.result())
                    except (StylewireError, OSError) as error:
                        if _concerns_all(error):
                            raise
                        yield _failed(job, error)
                    progress.step()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _stylize(client: Client, job: _Job, blend: StyleLike, options: Options) -> Stylized:
    content: bytes | Path = sys.stdin.buffer.read() if job.content == STREAM else job.content
    if not isinstance(content, bytes) and is_remote(content):
        with remote_errors(content):
            content = content.read_bytes()
    result = client.stylize_detailed(content, blend, **options | {"encoding": job.encoding})
    # A damaged answer raises an error here, so it is never written.
    _ = result.image
    if job.out == STREAM:
        sys.stdout.buffer.write(result.data)
        sys.stdout.buffer.flush()
    else:
        write(job.out, result.data)
    return result


def _concerns_all(error: Exception) -> bool:
    """Return True if an error concerns the style, the options or the caller, and not only one content."""
    if isinstance(error, InvalidRequest):
        return error.field.startswith(("styles", "options"))
    return isinstance(error, StyleNotFound | Unauthenticated)


def _plan(contents: list[Path], out: Path, form: str | None) -> tuple[list[_Job], list[_Outcome]]:
    """Return the jobs, and the files that are skipped because they are not pictures.

    Raises:
        UsageError: There is no picture, or two contents would become one file.
        OSError: A folder cannot be read.
    """
    encoding = None if form is None else FORMATS[f".{form}"]
    if STREAM in {*contents, out}:
        if len(contents) > 1 or contents[0].is_dir():
            raise UsageError("- stands for one picture; give one content and one result")
        return [_Job(contents[0], out, encoding if out == STREAM else format_of(out))], []
    if len(contents) == 1 and not contents[0].is_dir() and out.suffix and not out.is_dir():
        return [_Job(contents[0], out, format_of(out))], []
    if out.suffix.lower() in FORMATS and not out.is_dir():
        raise UsageError(f"{out} is one file, and there are several contents; give a folder")
    found: list[tuple[Path, Path]] = []
    left_out = []
    for content, relative, chosen in _files(contents, out):
        # A file that the caller names is tried, even if it does not look like a picture.
        if chosen or _looks_like_a_picture(content):
            found.append((content, relative))
        else:
            left_out.append(_Outcome(content, "skipped", reason="not a picture"))
    if not found and not left_out:
        raise UsageError(f"no files in {', '.join(map(str, contents))}")
    return [_Job(content, target, format_of(target)) for content, target in _targets(found, out, form)], left_out


def _targets(found: list[tuple[Path, Path]], out: Path, form: str | None) -> Iterator[tuple[Path, Path]]:
    """Yield each content with its result's file. Contents with one result's name keep their suffix: `a.gif.png`."""
    targets = {}
    for content, relative in found:
        suffix = relative.suffix.lower()
        ending = f".{form}" if form else relative.suffix if suffix in FORMATS else _SUFFIXES.get(suffix, ".png")
        # As text with slashes, which a URL takes too.
        targets[content] = out / relative.with_suffix(ending).as_posix(), out / f"{relative.as_posix()}{ending}"
    shared = Counter(short for short, _ in targets.values())
    taken: dict[Path, Path] = {}
    for content, relative in found:
        short, long = targets[content]
        target = short if shared[short] == 1 or short == out / relative.as_posix() else long
        if target in taken:
            raise UsageError(f"{content} and {taken[target]} would both become {target}")
        taken[target] = content
        yield content, target


def _files(contents: list[Path], out: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Yield every file, its path below the output folder, and whether the caller named it."""
    for content in contents:
        if not content.is_dir():
            yield content, Path(content.name), True
            continue
        for path, relative in files_within(content):
            # Results of an earlier run inside the folder are not contents.
            if is_remote(path) != is_remote(out) or not path.is_relative_to(out):
                yield path, relative, False


def _looks_like_a_picture(path: Path) -> bool:
    """Return True for a picture by its suffix or its first bytes. A damaged picture is tried too, and fails."""
    if path.suffix.lower() in {*FORMATS, *_SUFFIXES}:
        return True
    try:
        with path.open("rb") as file:
            return is_picture(file.read(32))
    except OSError:
        # The attempt gives the reason.
        return True
