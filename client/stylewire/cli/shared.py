"""Helpers that several commands share: flags, style arguments, files."""

import argparse
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..messages import STYLE_NAME, StyleLike, WeightedStyle
from ..options import Encoding
from ..pictures import ImageLike

FORMATS: dict[str, Encoding] = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jfif": "jpeg",
    ".webp": "webp",
    ".avif": "avif",
}
"""Suffix of a picture's file -> its encoding."""

STREAM = Path("-")
"""Argument that means standard input or output in place of a file."""


class UsageError(Exception):
    """The command line is wrong. The exit code is 2."""


class CommandFailed(Exception):
    """The command failed while it ran. The exit code is 1."""


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--json`, which `say` reads."""
    parser.add_argument("--json", action="store_true", help="print what was done as JSON, for scripts")


def say(arguments: argparse.Namespace, text: str, value: Any) -> None:
    """Print the result of a command: text, or JSON with `--json`. It goes to stderr if stdout carries a picture."""
    stream = sys.stderr if str(getattr(arguments, "out", "")) == "-" else sys.stdout
    print(json.dumps(value) if arguments.json else text, file=stream)


def add_style_flag(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add `--style STYLE[@MASK][=WEIGHT]`, which may be given any number of times."""
    parser.add_argument(
        "-s",
        "--style",
        dest="styles",
        action="append",
        default=[],
        required=required,
        metavar="STYLE[@MASK][=WEIGHT]",
        help="a picture, or the name of a named style; several are blended by their weights. MASK is a gray picture: "
        "the style applies where it is white",
    )


def blend_of(styles: Sequence[str]) -> StyleLike:
    """Read the files of arguments STYLE[@MASK][=WEIGHT] and return the blend; weights of equal styles are added up.

    Raises:
        OSError: A file cannot be read.
    """
    blend: dict[ImageLike, float] = {}
    masked = []
    for style, mask, weight in map(_split, styles):
        source = read_style(style)
        if mask is None:
            blend[source] = blend.get(source, 0.0) + weight
        else:
            masked.append(WeightedStyle(source, weight, mask.read_bytes()))
    if not masked:
        return blend
    return [*masked, *(WeightedStyle(style, weight) for style, weight in blend.items())]


def read_style(style: str) -> str | bytes:
    """Return the name of a named style, or the bytes of a file."""
    return style if STYLE_NAME.fullmatch(style) else Path(style).expanduser().read_bytes()


def label_of(style: str) -> str:
    """Return the label of a style argument in a picture."""
    style, _, _ = _split(style)
    return style if STYLE_NAME.fullmatch(style) else Path(style).stem


def format_of(path: Path) -> Encoding:
    """Return the encoding for a file name.

    Raises:
        UsageError: The suffix is not that of a picture.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"{path} ends in {path.suffix!r}; it must be one of {', '.join(FORMATS)}") from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically, so that `--skip-existing` never finds half a picture. Missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = part_of(path)
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture whole, in the format of the file's suffix."""
    out = io.BytesIO()
    picture.save(out, format_of(path).upper(), quality=90, optimize=True)
    write_file(path, out.getvalue())


def refuse_to_overwrite(written: Iterable[Path], read: Iterable[str | Path]) -> None:
    """Raise UsageError if the output file is one of the input files, under any name."""
    files = (Path(each) if isinstance(each, str) else each for each in read)
    originals = {_identity(path) for path in files if path.exists()}
    for path in written:
        if path.exists() and _identity(path) in originals:
            raise UsageError(f"{path} is a file to read; write to another one")


def part_of(path: Path) -> Path:
    """Return the temporary name of a file that is being written."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def is_remote(path: Path) -> bool:
    """Return True for a URL, which `locations.location` returns as something else than a `Path`."""
    return not isinstance(path, Path)


def style_files(styles: Iterable[str]) -> list[Path]:
    """Return the files, pictures and masks, of arguments STYLE[@MASK][=WEIGHT]."""
    files = []
    for style, mask, _ in map(_split, styles):
        if not STYLE_NAME.fullmatch(style):
            files.append(Path(style).expanduser())
        if mask is not None:
            files.append(mask)
    return files


def _identity(path: Path) -> tuple[int, int] | str:
    if is_remote(path):
        # A remote file has one name.
        return str(path)
    found = path.stat()
    return found.st_dev, found.st_ino


def _split(argument: str) -> tuple[str, Path | None, float]:
    """Split STYLE[@MASK][=WEIGHT]. An `=` or `@` that belongs to a file's name stays in it."""
    style, separator, number = argument.rpartition("=")
    try:
        weight = float(number) if separator else 1.0
    except ValueError:
        separator, weight = "", 1.0
    style = style if separator else argument
    name, separator, mask = style.rpartition("@")
    if not separator or Path(style).expanduser().exists():
        return style, None, weight
    return name, Path(mask).expanduser(), weight
