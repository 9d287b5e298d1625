"""`stylize CONTENT… STYLE -o OUT`: files and folders."""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ..client import Client
from ..errors import InvalidRequest, StyleNotFound, StylewireError, Unauthenticated
from ..messages import StyleLike, Stylized
from ..options import Options, add_option_flags, options_of
from .progress import Progress
from .shared import (
    FORMATS,
    UsageError,
    add_style_flag,
    blend_of,
    format_of,
    refuse_to_overwrite,
    style_files,
    write_file,
)

JOBS = 4


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "stylize",
        help="stylise pictures",
        description="Stylise one picture into a file, or several and whole folders into a folder.",
        epilog="stylize photo.jpg painting.jpg -o out.png; stylize photos/ wave -o out/; "
        "stylize photos/ --style wave=2 --style painting.jpg=1 -o out/",
    )
    parser.add_argument(
        "pictures", nargs="+", metavar="CONTENT… STYLE", help="pictures or folders, and the style where no --style is"
    )
    add_style_flag(parser, required=False)
    parser.add_argument("-o", "--out", type=Path, required=True, help="a .png, .jpg or .webp file, or a folder")
    add_option_flags(parser)
    parser.add_argument(
        "--format", choices=("jpg", "png", "webp"), help="of the files in a folder (default: each as its content)"
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave contents whose result is there already")
    parser.add_argument("--jobs", type=int, default=JOBS, help="requests at one time (default: %(default)s)")
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _Job:
    content: Path
    out: Path


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    contents, styles = arguments.pictures, arguments.styles
    if not styles:
        if len(contents) < 2:
            raise UsageError("give at least one content and one style")
        contents, styles = contents[:-1], contents[-1:]
    if arguments.jobs < 1:
        raise UsageError(f"--jobs is {arguments.jobs}; it must be at least 1")
    if str(arguments.out) == "-":
        raise UsageError("--out is '-'; pictures go to a file or a folder")
    jobs = _plan([Path(content) for content in contents], arguments.out, arguments.format)
    refuse_to_overwrite((job.out for job in jobs), [*(job.content for job in jobs), *style_files(styles)])
    waiting = [job for job in jobs if not (arguments.skip_existing and job.out.exists())]
    options = options_of(arguments)
    if len(jobs) == 1 and waiting:
        result = _stylize(client, jobs[0], blend_of(styles), options)
        print(f"{jobs[0].out}: {result.width}x{result.height} px by {result.model}")
        return 0
    failures = _run_all(client, waiting, blend_of(styles), options, arguments.jobs) if waiting else 0
    done = len(waiting) - failures
    print(f"{done} stylised, {len(jobs) - len(waiting)} skipped, {failures} failed")
    return 1 if failures else 0


def _run_all(client: Client, jobs: list[_Job], blend: StyleLike, options: Options, width: int) -> int:
    """Runs all jobs, some at one time; returns how many failed.

    Raises:
        StylewireError: One failed in a way in which all will.
    """
    # A server that is not there, or says no to everybody, is told once and not for every file.
    client.model()
    failures = 0
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
                    return failures
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        future.result()
                    except (StylewireError, OSError) as error:
                        if _is_hopeless(error):
                            raise
                        failures += 1
                        progress.say(f"stylewire: {job.content}: {error}")
                    progress.step()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _stylize(client: Client, job: _Job, blend: StyleLike, options: Options) -> Stylized:
    result = client.stylize_detailed(job.content, blend, **options | {"encoding": format_of(job.out)})
    # A damaged answer raises here, so that it is never written.
    _ = result.image
    write_file(job.out, result.data)
    return result


def _is_hopeless(error: Exception) -> bool:
    """Whether it is the style, the options or the caller that is to blame, and not one content."""
    if isinstance(error, InvalidRequest):
        return error.field.startswith(("styles", "options"))
    return isinstance(error, StyleNotFound | Unauthenticated)


def _plan(contents: list[Path], out: Path, form: str | None) -> list[_Job]:
    """Which file becomes which.

    Raises:
        UsageError: There is nothing to do, or two contents would become one file.
    """
    if len(contents) == 1 and not contents[0].is_dir() and out.suffix and not out.is_dir():
        format_of(out)
        return [_Job(contents[0], out)]
    if out.suffix.lower() in FORMATS and not out.is_dir():
        raise UsageError(f"{out} is one file, and there are several contents; give a folder")
    jobs: dict[Path, _Job] = {}
    for content, relative in _files(contents, out):
        target = out / (relative.with_suffix(f".{form}") if form else relative)
        format_of(target)
        if target in jobs:
            raise UsageError(f"{content} and {jobs[target].content} would both become {target}")
        jobs[target] = _Job(content, target)
    if not jobs:
        raise UsageError(f"no {', '.join(FORMATS)} files in {', '.join(map(str, contents))}")
    return list(jobs.values())


def _files(contents: list[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Every content file with its path under the output folder."""
    for content in contents:
        if not content.is_dir():
            yield content, Path(content.name)
            continue
        for path in sorted(_within(content)):
            # Results of an earlier run inside the folder are not contents.
            if path.suffix.lower() in FORMATS and not path.is_relative_to(out):
                yield path, path.relative_to(content)


def _within(folder: Path) -> Iterator[Path]:
    """Every file under it that is not hidden. Raises OSError for a folder that cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))
