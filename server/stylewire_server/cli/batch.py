"""`stylewire-server batch`: stylize many pictures on a Ray cluster, or on this machine."""

import argparse
import sys
from typing import Any

from .flags import UsageError

_FITS = ("crop", "squash", "keep", "native")

_ENCODINGS = ("jpeg", "png", "webp", "avif")


def register(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser(
        "batch",
        help="stylize many pictures on Ray",
        description="Stylize every picture of INPUT into OUTPUT, on a Ray cluster or on this machine. Pictures that "
        "exist in OUTPUT are left as they are, so a job that was interrupted can be started again. OUTPUT gets "
        "failures.parquet and manifest.json too. Needs stylewire[ray].",
    )
    parser.add_argument("input", metavar="INPUT", help="a folder, file, glob or parquet data set: a path or fsspec URL")
    parser.add_argument("output", metavar="OUTPUT", help="a folder: a path or fsspec URL")
    parser.add_argument(
        "--style",
        "-s",
        action="append",
        required=True,
        metavar="STYLE[=WEIGHT]",
        help="a picture (path or fsspec URL) or the name of a named style; several are blended",
    )
    parser.add_argument("--address", metavar="HOST", help="a Ray cluster: auto or HOST:PORT (default: start Ray here)")
    parser.add_argument("--cores", type=int, default=1, metavar="N", help="cores for each actor (default: %(default)s)")
    parser.add_argument(
        "--keep-order", action="store_true", help="list failures in the order of INPUT; a slow picture holds up others"
    )
    parser.add_argument(
        "--strength", type=float, default=1.0, metavar="S", help="strength of the style, 0 to 1 (default: %(default)g)"
    )
    parser.add_argument("--preserve-color", action="store_true", help="keep the colors of the pictures")
    parser.add_argument(
        "--fit", choices=_FITS, default="crop", help="crop and size of the pictures (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, metavar="PX", help="side at which the network works (default: 256)")
    parser.add_argument(
        "--full-size", action="store_true", help="compute at --size; results have the pictures' own sizes and contours"
    )
    parser.add_argument("--keep-metadata", action="store_true", help="copy ICC profiles and EXIF data to the results")
    parser.add_argument("--encoding", choices=_ENCODINGS, help="format of the results (default: as the pictures)")
    parser.add_argument(
        "--quality",
        type=int,
        default=90,
        metavar="N",
        help="quality of JPEG, WebP and AVIF, 1 to 100 (default: %(default)s)",
    )
    for flag, metavar, text in (
        ("--model", "MODEL", "auto, full, lite, or a folder (default: auto)"),
        ("--precision", "PRECISION", "auto, f32, bf16 or int8 (default: auto)"),
        ("--data-dir", "DIR", "where named styles are kept"),
        ("--cache", "DIR", "folder of the full model"),
    ):
        parser.add_argument(flag, metavar=metavar, default=argparse.SUPPRESS, help=text)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # Pillow, numpy and Ray are heavy; the other commands do not need them.
    from ..errors import InvalidInput
    from ..imaging.codec import Encoding
    from ..imaging.fit import Fit
    from ..options import Options

    if arguments.cores < 1:
        raise UsageError(f"--cores {arguments.cores}: it must be at least 1")
    try:
        options = Options(
            strength=arguments.strength,
            preserve_color=arguments.preserve_color,
            fit=Fit(arguments.fit),
            encoding=Encoding(arguments.encoding.upper()) if arguments.encoding else None,
            quality=arguments.quality,
            size=arguments.size,
            full_size=arguments.full_size,
            keep_metadata=arguments.keep_metadata,
        )
    except InvalidInput as error:
        raise UsageError(str(error)) from None
    try:
        from ..ray.batch import BatchError, run_batch
    except ModuleNotFoundError as error:
        print(f"stylewire-server: batch needs {error.name}: pip install 'stylewire[server,ray]'", file=sys.stderr)
        return 1
    settings = {
        name: value for name in ("model", "precision", "data_dir", "cache") if (value := vars(arguments).get(name))
    }
    try:
        report = run_batch(
            arguments.input,
            arguments.output,
            arguments.style,
            options,
            address=arguments.address,
            cores=arguments.cores,
            keep_order=arguments.keep_order,
            settings=settings,
            bars=sys.stderr.isatty(),
        )
    except BatchError as error:
        print(f"stylewire-server: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stylewire-server: interrupted; start the same command again to go on", file=sys.stderr)
        return 130
    print(
        f"{report.pictures} pictures in {report.seconds:.1f} s ({report.pictures_per_second:.1f} a second), "
        f"{report.skipped} were there already, {report.failed} failed",
    )
    if report.failed:
        print("stylewire-server: failures.parquet in OUTPUT names the pictures that failed", file=sys.stderr)
    return 1 if report.failed else 0
