"""Draws the four style pictures in examples/style: `python examples/draw_styles.py`.

Each is made of many brush strokes that follow a flow field, or of cut shapes, from a palette of its own, so that each
has a colour and a texture that a style transfer network can take up. Seeded: the same pictures every time.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 512
SUPERSAMPLING = 2
CANVAS = SIDE * SUPERSAMPLING

Colour = tuple[int, int, int]
Flow = Callable[[np.ndarray], np.ndarray]


def strokes(
    canvas: Image.Image,
    rng: np.random.Generator,
    flow: Flow,
    colour_at: Callable[[np.ndarray], Colour],
    count: int,
    length: float,
    width: float,
) -> None:
    """Paints count strokes along flow, a function of positions [2] in 0..1 to angles in radians."""
    pen = ImageDraw.Draw(canvas)
    for _ in range(count):
        point = rng.random(2)
        path = [point]
        for _ in range(12):
            angle = flow(point)
            point = point + length / 12 * np.array([np.cos(angle), np.sin(angle)])
            path.append(point)
        colour = np.clip(np.array(colour_at(path[0])) + rng.normal(0, 14, 3), 0, 255).astype(int)
        stroke_width = max(2, int(width * CANVAS * rng.uniform(0.6, 1.4)))
        xy = [tuple(p * CANVAS) for p in path]
        pen.line(xy, fill=tuple(int(c) for c in colour * 0.72), width=stroke_width + 3, joint="curve")
        pen.line(xy, fill=tuple(int(c) for c in colour), width=stroke_width, joint="curve")


def pick(palette: Sequence[Colour], value: float) -> Colour:
    """The palette's colour at value, which wraps around at 1."""
    return palette[int(value * len(palette)) % len(palette)]


def waves(rng: np.random.Generator) -> Image.Image:
    """Swirls in blues with foam and a low sun."""
    palette = [(12, 34, 84), (24, 72, 140), (52, 120, 178), (128, 186, 208), (238, 234, 214), (36, 92, 160)]
    centres = rng.random((5, 2))

    def flow(p: np.ndarray) -> np.ndarray:
        offsets = p - centres
        weight = np.exp(-np.sum(offsets**2, axis=1) / 0.05)
        angles = np.arctan2(offsets[:, 1], offsets[:, 0]) + np.pi / 2
        turn = np.sum(weight[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1), axis=0)
        base = np.array([1.0, 0.35 * np.sin(7 * p[0])])
        return np.arctan2(*(turn * 3 + base)[::-1])

    def colour(p: np.ndarray) -> Colour:
        nearest = np.sqrt(np.sum((p - centres) ** 2, axis=1)).min()
        if nearest < 0.05:
            return (244, 190, 62)
        return pick(palette, nearest * 5 + 0.18 * np.sin(9 * p[0]))

    canvas = Image.new("RGB", (CANVAS, CANVAS), palette[0])
    strokes(canvas, rng, flow, colour, 5000, 0.16, 0.013)
    strokes(canvas, rng, flow, colour, 4000, 0.09, 0.007)
    return canvas


def embers(rng: np.random.Generator) -> Image.Image:
    """Long bands of red, orange and violet that bend across the picture."""
    palette = [(176, 32, 28), (226, 84, 32), (246, 158, 52), (94, 28, 56), (36, 22, 44), (212, 56, 44)]

    def height(p: np.ndarray) -> float:
        return float(p[1] + 0.12 * np.sin(5 * p[0] + 1) + 0.05 * np.sin(13 * p[0]))

    def flow(p: np.ndarray) -> np.ndarray:
        return np.arctan2(-0.6 * np.cos(5 * p[0] + 1) - 0.65 * np.cos(13 * p[0]), 1.0)

    canvas = Image.new("RGB", (CANVAS, CANVAS), palette[4])
    strokes(canvas, rng, flow, lambda p: pick(palette, height(p) * 2.6), 4500, 0.34, 0.016)
    strokes(canvas, rng, flow, lambda p: pick(palette, height(p) * 2.6 + 0.08), 2500, 0.2, 0.006)
    return canvas


def shards(rng: np.random.Generator) -> Image.Image:
    """Stained glass: flat cells of primary colours between heavy black lines."""
    palette = np.array(
        [(214, 40, 40), (247, 201, 72), (29, 78, 168), (244, 238, 222), (20, 130, 110), (240, 128, 40)], np.uint8
    )
    seeds = rng.random((90, 2)) * CANVAS
    y, x = np.mgrid[:CANVAS, :CANVAS]
    skewed = np.stack([x + 0.4 * y, y - 0.3 * x], -1).reshape(-1, 2)
    seeds = np.stack([seeds[:, 0] + 0.4 * seeds[:, 1], seeds[:, 1] - 0.3 * seeds[:, 0]], -1)
    first = np.full(len(skewed), np.inf)
    second = first.copy()
    owner = np.zeros(len(skewed), int)
    for index, seed in enumerate(seeds):
        # City-block distance gives straight, angular cuts.
        distance = np.abs(skewed - seed).sum(1)
        closer = distance < first
        second = np.where(closer, first, np.minimum(second, distance))
        owner[closer] = index
        first = np.minimum(first, distance)
    colours = palette[rng.integers(0, len(palette), len(seeds))]
    shade = rng.normal(1.0, 0.07, (len(skewed), 1)) * (0.82 + 0.3 * (x + y).reshape(-1, 1) / (2 * CANVAS))
    pixels = colours[owner] * shade
    pixels[second - first < 16] = (16, 14, 18)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).reshape(CANVAS, CANVAS, 3))


def meadow(rng: np.random.Generator) -> Image.Image:
    """Dabs of paint, side by side: greens, pinks and a pale sky."""
    greens = [(62, 120, 58), (112, 158, 72), (170, 192, 92), (36, 88, 66)]
    flowers = [(222, 96, 140), (246, 176, 196), (250, 220, 110), (150, 90, 170)]
    sky = [(166, 206, 226), (208, 226, 230), (236, 230, 214), (136, 184, 216)]

    def colour(p: np.ndarray) -> Colour:
        horizon = 0.38 + 0.06 * np.sin(6 * p[0])
        if p[1] < horizon:
            return pick(sky, rng.random())
        return pick(flowers if rng.random() < 0.3 else greens, rng.random())

    canvas = Image.new("RGB", (CANVAS, CANVAS), (120, 150, 110))
    strokes(canvas, rng, lambda p: np.arctan2(0.4 * np.sin(8 * p[0]), 1.0), colour, 16000, 0.018, 0.013)
    return canvas


def main() -> None:
    """Writes the four pictures as JPEG files."""
    folder = Path(__file__).parent / "style"
    folder.mkdir(exist_ok=True)
    for seed, draw in enumerate((waves, embers, shards, meadow)):
        picture = draw(np.random.default_rng(seed)).filter(ImageFilter.GaussianBlur(SUPERSAMPLING / 2))
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(folder / f"{draw.__name__}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main()
