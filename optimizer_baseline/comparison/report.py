"""The report of a comparison: one self-contained web page, and one picture."""

from __future__ import annotations

import base64
import importlib.resources
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..canvas import Sheet, Tile
from .answer import number, seconds
from .curve import Trace, cost_curve

WEBP_QUALITY = 90
"""Quality of the pictures in the page, most of its size. WebP at 90 is a tenth of PNG and looks the same."""

SHEET_SIDE = 224
"""Longer side in pixels of a picture in the sheet."""

FLAT_SHARE = 0.02
"""A run is too short if its cost falls by more than this share over its last tenth."""


def write_report(results: Mapping[str, Any], out: Path, title: str = "One pass against many") -> None:
    """Write index.html and sheet.png beside the pictures that `compare` left in `out`."""
    (out / "index.html").write_text(page(results, out, title))
    sheet(results, out, title).save(out / "sheet.png")


def page(results: Mapping[str, Any], folder: Path, title: str) -> str:
    """Return the page as HTML, with all pictures of `results` (paths relative to `folder`) inside it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, seconds=seconds)
    source = importlib.resources.files(__package__).joinpath("report.html.j2").read_text("utf-8")
    pairs = [_view(pair, index) for index, pair in enumerate(results["pairs"])]
    contents = {Path(p["content"]).stem: p["content_picture"] for p in results["pairs"]}
    styles = {Path(p["style"]).stem: p["style_picture"] for p in results["pairs"]}
    return environment.from_string(source).render(
        title=title,
        results=results,
        summary=results["summary"],
        settings=results["settings"],
        pairs=pairs,
        contents=list(contents),
        styles=list(styles),
        cells={(p["content_name"], p["style_name"]): p for p in pairs},
        content_uris={name: data_uri(folder / path) for name, path in contents.items()},
        style_uris={name: data_uri(folder / path) for name, path in styles.items()},
        pass_uris=[data_uri(folder / p["feedforward"]["picture"]) for p in results["pairs"]],
        optimized_uris=[data_uri(folder / p["optimized"]["picture"]) for p in results["pairs"]],
        falling=[p["name"] for p in results["pairs"] if still_falling(p["curve"])],
        flat_share=FLAT_SHARE,
        overview=cost_curve([_trace(p) for p in results["pairs"]]),
        curves=[cost_curve([_trace(p)]) for p in results["pairs"]],
    )


def still_falling(curve: Sequence[Mapping[str, Any]]) -> bool:
    """Return True if a run ended before its cost was flat: it fell by more than 2 % over the last tenth of the run."""
    tail = max(1, len(curve) // 10)
    return len(curve) > tail and curve[-1]["total_cost"] < (1.0 - FLAT_SHARE) * curve[-1 - tail]["total_cost"]


def sheet(results: Mapping[str, Any], folder: Path, title: str) -> Image.Image:
    """Return all pairs in one picture: a row for each content, one pass on the left and optimized on the right."""
    settings = results["settings"]
    subtitle = (
        f"one pass ({results['feedforward']['edition']}) | {settings['iterations']} iterations of L-BFGS "
        f"({settings['preset']}, {settings['network']}), {settings['size']} px"
    )
    result = Sheet(title, subtitle)
    rows: dict[str, list[Tile]] = {}
    for pair in results["pairs"]:
        content, style = Path(pair["content"]).stem, Path(pair["style"]).stem
        tiles = rows.setdefault(content, [Tile(_thumbnail(folder / pair["content_picture"]), content)])
        tiles.append(Tile(_thumbnail(folder / pair["style_picture"], SHEET_SIDE // 2), style))
        ms, total = pair["feedforward"]["ms"], pair["optimized"]["seconds"]
        tiles.append(Tile(_thumbnail(folder / pair["feedforward"]["picture"]), f"one pass, {ms:.3g} ms"))
        tiles.append(Tile(_thumbnail(folder / pair["optimized"]["picture"]), f"optimized, {seconds(total)}"))
    for tiles in rows.values():
        result.row(tiles)
    return result.render()


def data_uri(path: Path) -> str:
    """Return a picture file as data:image/webp;base64,…"""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _view(pair: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {
        **pair,
        "index": index,
        "content_name": Path(pair["content"]).stem,
        "style_name": Path(pair["style"]).stem,
        "aspect": f"{pair['width']} / {pair['height']}",
    }


def _trace(pair: Mapping[str, Any]) -> Trace:
    answer = pair["answer"]
    return Trace(
        f"{Path(pair['content']).stem} in the style of {Path(pair['style']).stem}",
        [(point["seconds"], point["total_cost"] / answer["pass_cost"]) for point in pair["curve"]],
        answer["pass_ms"] / 1e3,
        answer["seconds"] if answer["reached"] == "after" else None,
    )


def _thumbnail(path: Path, side: int = SHEET_SIDE) -> Image.Image:
    with Image.open(path) as image:
        factor = side / max(image.size)
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
