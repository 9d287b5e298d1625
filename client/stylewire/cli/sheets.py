"""`sheet` and `strip`: commands that draw many results in one picture."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from ..client import Client
from ..messages import STYLE_NAME
from ..options import add_option_flags, options_of
from ..pictures import open_picture
from .progress import Progress
from .shared import (
    add_json_flag,
    format_of,
    label_of,
    read_style,
    refuse_to_overwrite,
    save_picture,
    say,
    style_files,
)

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

_CELL_MIN, _CELL_MAX = 16, 2048

_GAP, _LABEL = 6, 22
"""Pixels between cells, and pixels for the labels above each row."""

Cell = tuple[str, Image.Image | None]
"""A label and a picture; None leaves the cell empty."""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    sheet = commands.add_parser("sheet", help="draw a contact sheet: contents in rows, styles in columns")
    sheet.add_argument("content", help="a picture to stylize: a row of the sheet")
    sheet.add_argument("styles", nargs="+", metavar="STYLE", help="a picture, or the name of a named style; a column")
    sheet.add_argument(
        "--content", dest="more", action="append", default=[], metavar="CONTENT", help="one more row; may be repeated"
    )
    _add_flags(sheet)
    add_option_flags(sheet, fit="keep")
    sheet.set_defaults(run=_sheet)

    strip = commands.add_parser("strip", help="draw one picture in one style at several strengths")
    strip.add_argument("content", help="the picture to stylize")
    strip.add_argument("style", help="a picture, or the name of a named style")
    strip.add_argument(
        "--strengths",
        type=float,
        nargs="+",
        default=list(STRENGTHS),
        metavar="S",
        help="0 to 1 each (default: %(default)s)",
    )
    _add_flags(strip)
    add_option_flags(strip, ("strength",), fit="keep")
    strip.set_defaults(run=_strip)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, help="a .png, .jpg or .webp file")
    add_json_flag(parser)
    parser.add_argument("--cell", type=_cell, default=192, metavar="PX", help="side of one cell (default: %(default)s)")


def _cell(text: str) -> int:
    side = int(text)
    if not _CELL_MIN <= side <= _CELL_MAX:
        raise argparse.ArgumentTypeError(f"{side} px is not from {_CELL_MIN} to {_CELL_MAX} px")
    return side


def _sheet(client: Client, arguments: argparse.Namespace) -> int:
    format_of(arguments.out)
    refuse_to_overwrite([arguments.out], [arguments.content, *arguments.more, *style_files(arguments.styles)])
    styles = {style: read_style(style) for style in arguments.styles}
    contents = [arguments.content, *arguments.more]
    head: list[Cell] = [("", None), *((label_of(style), _look(client, source)) for style, source in styles.items())]
    rows = [head]
    options = options_of(arguments, encoding="png")
    with Progress(len(contents) * len(styles), "pictures") as progress:
        for content in contents:
            row: list[Cell] = [(Path(content).stem, _opened(content))]
            for source in styles.values():
                row.append(("", client.stylize(content, source, **options)))
                progress.step()
            rows.append(row)
    return _save(rows, arguments)


def _strip(client: Client, arguments: argparse.Namespace) -> int:
    format_of(arguments.out)
    refuse_to_overwrite([arguments.out], [arguments.content, *style_files([arguments.style])])
    style = read_style(arguments.style)
    row: list[Cell] = [("content", _opened(arguments.content))]
    for strength in arguments.strengths:
        options = options_of(arguments, encoding="png", strength=strength)
        row.append((f"strength {strength:g}", client.stylize(arguments.content, style, **options)))
    row.append((label_of(arguments.style), _look(client, style)))
    return _save([row], arguments)


def _save(rows: Sequence[Sequence[Cell]], arguments: argparse.Namespace) -> int:
    picture = draw_grid(rows, arguments.cell)
    save_picture(arguments.out, picture)
    value = {"out": str(arguments.out), "width": picture.width, "height": picture.height}
    say(arguments, f"{arguments.out}: {picture.width}x{picture.height} px", value)
    return 0


def draw_grid(rows: Sequence[Sequence[Cell]], side: int) -> Image.Image:
    """Return one picture with cells in rows, each under its label.

    Args:
        rows: Labels and pictures of each row.
        side: Side in pixels of the square for each picture.
    """
    from PIL import ImageDraw, ImageFont

    columns = max(len(row) for row in rows)
    heights = [side + (_LABEL if any(label for label, _ in row) else 0) for row in rows]
    size = (columns * (side + _GAP) + _GAP, sum(heights) + _GAP * (len(rows) + 1))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, (label, picture) in enumerate(row):
            left = _GAP + column * (side + _GAP)
            draw.text((left + 2, top + 2), label, fill="black", font=font)
            if picture is not None:
                fitted = ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
                free = (side - fitted.width, side - fitted.height)
                sheet.paste(fitted, (left + free[0] // 2, top + height - side + free[1] // 2))
        top += height + _GAP
    return sheet


def _look(client: Client, style: str | bytes) -> Image.Image:
    """Return a picture of a style: the style picture, or the thumbnail that the server keeps."""
    if isinstance(style, str) and STYLE_NAME.fullmatch(style):
        return client.styles.get(style).thumbnail
    return _opened(style)


def _opened(source: str | bytes) -> Image.Image:
    data = source if isinstance(source, bytes) else Path(source).expanduser().read_bytes()
    with open_picture(data) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
