"""What several commands share: flags, style arguments, files."""

import argparse
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from ..messages import FITS, STYLE_NAME, ImageLike, Options

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""Suffix of a picture's file -> how it is encoded."""


class UsageError(Exception):
    """The command line asks for something that cannot be done: exit code 2."""


class CommandFailed(Exception):
    """Something went wrong on the way: exit code 1."""


def add_style_flag(parser: argparse.ArgumentParser, required: bool) -> None:
    """`--style STYLE[=WEIGHT]`, any number of times."""
    parser.add_argument(
        "-s",
        "--style",
        dest="styles",
        action="append",
        default=[],
        required=required,
        metavar="STYLE[=WEIGHT]",
        help="a picture, or the name of a kept style; several are blended by their weights",
    )


def add_option_flags(parser: argparse.ArgumentParser, fit: str = "crop", strength: bool = True) -> None:
    """The flags of `Options`, but for the encoding."""
    if strength:
        parser.add_argument("--strength", type=float, help="0..1 (default: 1)")
    parser.add_argument("--preserve-color", action="store_true", help="keep the content's colours")
    parser.add_argument(
        "--fit", choices=FITS, default=fit, help="how the content is brought to size (default: %(default)s)"
    )


def options_of(arguments: argparse.Namespace, **more: str | float | None) -> Options:
    """The options that the flags ask for."""
    given = {name: getattr(arguments, name, None) for name in ("strength", "preserve_color", "fit", "quality")}
    return Options(**{name: value for name, value in {**given, **more}.items() if value is not None})  # type: ignore[typeddict-item]


def blend_of(styles: Sequence[str]) -> dict[ImageLike, float]:
    """The blend of arguments STYLE[=WEIGHT], the weights of equal styles added up; files are read, once.

    Raises:
        OSError: A file cannot be read.
    """
    blend: dict[ImageLike, float] = {}
    for style, weight in map(_split, styles):
        source = read_style(style)
        blend[source] = blend.get(source, 0.0) + weight
    return blend


def read_style(style: str) -> str | bytes:
    """The name of a kept style, or the bytes of a file."""
    return style if STYLE_NAME.fullmatch(style) else Path(style).expanduser().read_bytes()


def label_of(style: str) -> str:
    """What to call a style argument in a picture."""
    style, _ = _split(style)
    return style if STYLE_NAME.fullmatch(style) else Path(style).stem


def format_of(path: Path) -> str:
    """How a file of that name is encoded.

    Raises:
        UsageError: Its suffix is not a picture's.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"{path} ends in {path.suffix!r}; it must be one of {', '.join(FORMATS)}") from None


def write_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, so that `--skip-existing` never finds half a picture; folders are made."""
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
    """Writes a picture in the format of the file's suffix, as `write_file` does."""
    out = io.BytesIO()
    picture.save(out, format_of(path).upper(), quality=90, optimize=True)
    write_file(path, out.getvalue())


def refuse_to_overwrite(written: Iterable[Path], read: Iterable[str | Path]) -> None:
    """Raises UsageError where a file to write is one of those to read, by whatever name."""
    originals = {_identity(path) for path in map(Path, read) if path.exists()}
    for path in written:
        if path.exists() and _identity(path) in originals:
            raise UsageError(f"{path} is a file to read; write to another one")


def part_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def style_files(styles: Iterable[str]) -> list[Path]:
    """Those of the arguments STYLE[=WEIGHT] that are files."""
    return [Path(style).expanduser() for style, _ in map(_split, styles) if not STYLE_NAME.fullmatch(style)]


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _split(argument: str) -> tuple[str, float]:
    style, separator, weight = argument.rpartition("=")
    if not separator:
        return argument, 1.0
    try:
        return style, float(weight)
    except ValueError:
        return argument, 1.0
