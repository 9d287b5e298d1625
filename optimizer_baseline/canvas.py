"""Sheets: one picture with rows of captioned pictures under headings.

The client draws another kind of sheet in `stylewire/cli/sheets.py`: a grid of equal cells with labels above. The client
is installed without this package, so the two share no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, MUTED = "#faf8f4", "#1d1b18", "#6b665e"
MARGIN, GAP = 24, 8
TITLE, HEADING, CAPTION = 24, 17, 12
CAPTION_WIDTH = 200
"""Maximum width in pixels of a cell whose caption is wider than its picture."""


@dataclass(frozen=True)
class Tile:
    """A picture and its caption of one line."""

    picture: Image.Image
    caption: str = ""


class Sheet:
    """A sheet that grows downwards; `render` draws it."""

    def __init__(self, title: str = "", subtitle: str = "") -> None:
        self._rows: list[tuple[str, int, Sequence[Tile]]] = []
        if title:
            self.text(title, TITLE)
        if subtitle:
            self.text(subtitle, CAPTION)

    def text(self, text: str, size: int = HEADING) -> None:
        """Add a line of text."""
        self._rows.append((text, size, ()))

    def row(self, tiles: Sequence[Tile]) -> None:
        """Add pictures side by side, each in its own size."""
        self._rows.append(("", CAPTION, tiles))

    def render(self) -> Image.Image:
        """Return the sheet as one RGB picture."""
        width = max(self._width(row) for row in self._rows) + 2 * MARGIN
        height = sum(self._height(row) + GAP for row in self._rows) + 2 * MARGIN
        sheet = Image.new("RGB", (width, height), PAPER)
        draw = ImageDraw.Draw(sheet)
        y = MARGIN
        for row in self._rows:
            text, size, tiles = row
            if text:
                draw.text((MARGIN, y), text, INK if size > CAPTION else MUTED, _font(size))
            x = MARGIN
            tallest = max((tile.picture.height for tile in tiles), default=0)
            for tile in tiles:
                sheet.paste(tile.picture, (x, y + (tallest - tile.picture.height) // 2))
                draw.text((x, y + tallest + 3), _fitted(tile.caption, _cell(tile)), MUTED, _font(CAPTION))
                x += _cell(tile) + GAP
            y += self._height(row) + GAP
        return sheet

    @staticmethod
    def _width(row: tuple[str, int, Sequence[Tile]]) -> int:
        text, size, tiles = row
        if text:
            return round(_font(size).getlength(text))
        return sum(map(_cell, tiles)) + GAP * (len(tiles) - 1)

    @staticmethod
    def _height(row: tuple[str, int, Sequence[Tile]]) -> int:
        text, size, tiles = row
        if text:
            return round(size * 1.3)
        captioned = any(tile.caption for tile in tiles)
        return max(tile.picture.height for tile in tiles) + (CAPTION + 8 if captioned else 0)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _cell(tile: Tile) -> int:
    """Return the width of a tile in pixels. The tile of a small picture is wide enough for its caption."""
    return max(tile.picture.width, min(round(_font(CAPTION).getlength(tile.caption)), CAPTION_WIDTH))


def _fitted(text: str, width: int) -> str:
    """Return `text`, shortened until it is no wider than `width` pixels."""
    font = _font(CAPTION)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
