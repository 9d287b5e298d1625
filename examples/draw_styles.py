"""Draw the style pictures in examples/style: `python examples/draw_styles.py [NAME …]`.

Each picture imitates a technique, with a palette of its own, so that each has colors and textures that a style
transfer network can take up. The pictures are seeded: they are the same every time.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 512
SUPERSAMPLING = 2
CANVAS = SIDE * SUPERSAMPLING

Color = tuple[int, int, int]
Flow = Callable[[np.ndarray], np.ndarray]


def strokes(
    canvas: Image.Image,
    rng: np.random.Generator,
    flow: Flow,
    color_at: Callable[[np.ndarray], Color],
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
        color = np.clip(np.array(color_at(path[0])) + rng.normal(0, 14, 3), 0, 255).astype(int)
        stroke_width = max(2, int(width * CANVAS * rng.uniform(0.6, 1.4)))
        xy = [tuple(p * CANVAS) for p in path]
        pen.line(xy, fill=tuple(int(c) for c in color * 0.72), width=stroke_width + 3, joint="curve")
        pen.line(xy, fill=tuple(int(c) for c in color), width=stroke_width, joint="curve")


def varied(rng: np.random.Generator, color: Color, spread: float) -> Color:
    """Return the color with noise of that standard deviation in each channel."""
    return tuple(int(c) for c in np.clip(np.array(color) + rng.normal(0, spread, 3), 0, 255))  # type: ignore[return-value]


def pick(palette: Sequence[Color], value: float) -> Color:
    """The palette's color at value, which wraps around at 1."""
    return palette[int(value * len(palette)) % len(palette)]


def waves(rng: np.random.Generator) -> Image.Image:
    """Swirls in blues with foam and a low sun."""
    palette = [(12, 34, 84), (24, 72, 140), (52, 120, 178), (128, 186, 208), (238, 234, 214), (36, 92, 160)]
    centers = rng.random((5, 2))

    def flow(p: np.ndarray) -> np.ndarray:
        offsets = p - centers
        weight = np.exp(-np.sum(offsets**2, axis=1) / 0.05)
        angles = np.arctan2(offsets[:, 1], offsets[:, 0]) + np.pi / 2
        turn = np.sum(weight[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1), axis=0)
        base = np.array([1.0, 0.35 * np.sin(7 * p[0])])
        return np.arctan2(*(turn * 3 + base)[::-1])

    def color(p: np.ndarray) -> Color:
        nearest = np.sqrt(np.sum((p - centers) ** 2, axis=1)).min()
        if nearest < 0.05:
            return (244, 190, 62)
        return pick(palette, nearest * 5 + 0.18 * np.sin(9 * p[0]))

    canvas = Image.new("RGB", (CANVAS, CANVAS), palette[0])
    strokes(canvas, rng, flow, color, 5000, 0.16, 0.013)
    strokes(canvas, rng, flow, color, 4000, 0.09, 0.007)
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
    """Stained glass: flat cells of primary colors between heavy black lines."""
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
    colors = palette[rng.integers(0, len(palette), len(seeds))]
    shade = rng.normal(1.0, 0.07, (len(skewed), 1)) * (0.82 + 0.3 * (x + y).reshape(-1, 1) / (2 * CANVAS))
    pixels = colors[owner] * shade
    pixels[second - first < 16] = (16, 14, 18)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).reshape(CANVAS, CANVAS, 3))


def meadow(rng: np.random.Generator) -> Image.Image:
    """Dabs of paint, side by side: greens, pinks and a pale sky."""
    greens = [(62, 120, 58), (112, 158, 72), (170, 192, 92), (36, 88, 66)]
    flowers = [(222, 96, 140), (246, 176, 196), (250, 220, 110), (150, 90, 170)]
    sky = [(166, 206, 226), (208, 226, 230), (236, 230, 214), (136, 184, 216)]

    def color(p: np.ndarray) -> Color:
        horizon = 0.38 + 0.06 * np.sin(6 * p[0])
        if p[1] < horizon:
            return pick(sky, rng.random())
        return pick(flowers if rng.random() < 0.3 else greens, rng.random())

    canvas = Image.new("RGB", (CANVAS, CANVAS), (120, 150, 110))
    strokes(canvas, rng, lambda p: np.arctan2(0.4 * np.sin(8 * p[0]), 1.0), color, 16000, 0.018, 0.013)
    return canvas


def mosaic(rng: np.random.Generator) -> Image.Image:
    """Roman mosaic: small tiles in rings around three centers, with pale grout between them."""
    palette = [(178, 74, 46), (222, 168, 92), (238, 226, 196), (34, 94, 112), (22, 44, 66), (118, 140, 96)]
    canvas = Image.new("RGB", (CANVAS, CANVAS), (206, 198, 182))
    pen = ImageDraw.Draw(canvas)
    side = 26
    centers = np.array([[0.2, 0.25], [0.85, 0.4], [0.4, 0.95]]) * CANVAS
    for index, center in enumerate(centers):
        for ring in range(1, 46):
            radius = ring * side
            count = max(6, int(2 * np.pi * radius / side))
            for angle in np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 1):
                middle = center + radius * np.array([np.cos(angle), np.sin(angle)])
                if np.argmin(np.linalg.norm(centers - middle, axis=1)) != index:
                    continue
                half = side * rng.uniform(0.38, 0.44)
                turn = angle + rng.normal(0, 0.05)
                axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * half
                corners = [tuple(middle + a * axes[0] + b * axes[1]) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
                pen.polygon(corners, fill=varied(rng, pick(palette, ring / 9 + index / 3 + rng.normal(0, 0.03)), 12))
    return canvas


def ink(rng: np.random.Generator) -> Image.Image:
    """Ink on rice paper: a few sweeping brush strokes that swell and run dry, gray wash and splashes."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), (240, 234, 220))
    pen = ImageDraw.Draw(canvas)
    for _ in range(7):
        x, y = rng.random(2) * CANVAS
        for _ in range(60):
            shade = int(rng.uniform(170, 215))
            dx, dy, r = *rng.normal(0, 90, 2), rng.uniform(20, 80)
            pen.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), fill=(shade, shade, shade - 6))
    canvas = canvas.filter(ImageFilter.GaussianBlur(22))
    pen = ImageDraw.Draw(canvas)
    for _ in range(34):
        start, bend = rng.random(2) * CANVAS, rng.uniform(-2.2, 2.2)
        angle, length, width = rng.uniform(0, 2 * np.pi), rng.uniform(250, 800), rng.uniform(8, 46)
        for bristle in range(26):
            offset = rng.normal(0, width / 3)
            ends = rng.uniform(0.6, 1.0)
            point, turn = start + offset * np.array([-np.sin(angle), np.cos(angle)]), angle
            path = [point]
            for step in range(40):
                if step > 40 * ends:
                    break
                turn += bend / 40
                point = point + length / 40 * np.array([np.cos(turn), np.sin(turn)])
                path.append(point)
            pen.line([tuple(each) for each in path], fill=(24, 22, 26), width=int(rng.uniform(2, 3 + width / 4)))
            if bristle == 0:
                x, y = path[-1]
                for _ in range(10):
                    dx, dy, r = *rng.normal(0, width * 2, 2), rng.uniform(1, 6)
                    pen.ellipse((x + dx - r, y + dy - r, x + dx + r, y + dy + r), fill=(30, 28, 32))
    return canvas


def halftone(rng: np.random.Generator) -> Image.Image:
    """Comic print: dots of cyan, magenta and yellow on turned grids, with black outlines."""
    y, x = np.mgrid[:CANVAS, :CANVAS]
    pixels = np.full((CANVAS, CANVAS, 3), (250, 244, 230), float)
    pitch = 22
    for inks, turn in (((0, 170, 224), 0.26), ((228, 38, 124), 1.31), ((250, 214, 20), 0.0)):
        u = np.cos(turn) * x + np.sin(turn) * y
        v = -np.sin(turn) * x + np.cos(turn) * y
        f, g, phase = *rng.uniform(3, 7, 2), rng.uniform(0, 6)
        tone = 0.5 + 0.5 * np.sin(f * x / CANVAS + phase) * np.sin(g * y / CANVAS + phase)
        distance = np.hypot((u % pitch) - pitch / 2, (v % pitch) - pitch / 2)
        dots = distance < pitch * 0.62 * tone
        pixels[dots] *= np.array(inks) / 255.0
    canvas = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for _ in range(9):
        middle, radius = rng.random(2) * CANVAS, rng.uniform(90, 260)
        angles = np.linspace(0, 2 * np.pi, 60)
        wobble = radius * (1 + 0.25 * np.sin(3 * angles + rng.uniform(0, 6)))
        path = [tuple(middle + r * np.array([np.cos(a), np.sin(a)])) for a, r in zip(angles, wobble, strict=True)]
        pen.line(path, fill=(20, 18, 24), width=int(rng.uniform(8, 16)), joint="curve")
    return canvas


def watercolour(rng: np.random.Generator) -> Image.Image:
    """Watercolour: pale washes that overlap, with darker rims and the grain of the paper."""
    palette = [(96, 150, 190), (150, 190, 170), (226, 150, 130), (236, 198, 130), (150, 130, 180), (110, 160, 120)]
    paper = np.full((CANVAS, CANVAS, 3), (250, 247, 240), float)
    for index in range(46):
        middle, radius = rng.random(2) * CANVAS, rng.uniform(70, 240)
        angles = np.linspace(0, 2 * np.pi, 80)
        shape = 1 + sum(rng.uniform(0, 0.22) * np.sin(k * angles + rng.uniform(0, 6)) for k in (2, 3, 5, 9))
        mask = Image.new("L", (CANVAS, CANVAS), 0)
        outline = [
            (middle[0] + radius * s * np.cos(a), middle[1] + radius * s * np.sin(a))
            for a, s in zip(angles, shape, strict=True)
        ]
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        wash = np.asarray(mask.filter(ImageFilter.GaussianBlur(4)), float) / 255
        inner = np.asarray(mask.filter(ImageFilter.GaussianBlur(26)), float) / 255
        strength = wash * (0.34 + 0.5 * np.clip(1 - inner, 0, 1)) * rng.uniform(0.6, 1.0)
        paper *= 1 - strength[..., None] * (1 - np.array(varied(rng, palette[index % len(palette)], 10)) / 255.0)
    grain = Image.fromarray(rng.normal(128, 40, (CANVAS // 2, CANVAS // 2)).clip(0, 255).astype(np.uint8))
    grain = np.asarray(grain.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC), float)
    paper += (grain[..., None] - 128) * 0.16
    return Image.fromarray(paper.clip(0, 255).astype(np.uint8))


def carved(
    rng: np.random.Generator, block: Color, paper: Color, pitch: float, width: float, bends: Sequence[float]
) -> Image.Image:
    """Return a relief print: paper shows where tapered cuts follow a flow, thick or thin by the tone of the place."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), block)
    pen = ImageDraw.Draw(canvas)
    for top in np.arange(-0.4, 1.4, pitch):
        x = -0.05
        while x < 1.05:
            length = rng.uniform(0.05, 0.22)
            steps = np.linspace(x, x + length, 14)
            heights = top + bends[0] * np.sin(bends[1] * steps + 3 * top) + 0.05 * np.sin(17 * steps * top)
            tone = 0.5 + 0.5 * np.sin(7 * x + 5 * top) * np.cos(6 * top - 3 * x)
            for position in range(len(steps) - 1):
                taper = np.sin(np.pi * (position + 0.5) / (len(steps) - 1))
                thick = width * CANVAS * tone * taper
                if thick >= 1:
                    ends = [(steps[k] * CANVAS, heights[k] * CANVAS) for k in (position, position + 1)]
                    pen.line(ends, fill=paper, width=int(thick))
            x += length + rng.uniform(0.005, 0.03)
    return canvas


def woodcut(rng: np.random.Generator) -> Image.Image:
    """Woodcut: fine tapered cuts in black ink on warm paper."""
    return carved(rng, (26, 22, 20), (232, 214, 180), 0.014, 0.011, (0.09, 6.0))


def linocut(rng: np.random.Generator) -> Image.Image:
    """Linocut: broad gouges and flat shapes in red and deep green on cream."""
    canvas = carved(rng, (166, 36, 32), (244, 232, 204), 0.05, 0.035, (0.16, 4.0))
    other = carved(rng, (20, 66, 62), (244, 232, 204), 0.045, 0.026, (0.2, 5.0))
    mask = Image.new("L", (CANVAS, CANVAS), 0)
    pen = ImageDraw.Draw(mask)
    for _ in range(10):
        (x, y), r = rng.random(2) * CANVAS, rng.uniform(70, 190)
        pen.polygon(
            [(x + r * rng.uniform(0.7, 1.2) * np.cos(a), y + r * np.sin(a)) for a in np.arange(0, 6.3, 0.5)], 255
        )
    canvas.paste(other, mask=mask)
    return canvas


def pointillism(rng: np.random.Generator) -> Image.Image:
    """Pointillism: dots of pure colors side by side, a warm shore under a cool sky with a sun."""
    canvas = Image.new("RGB", (CANVAS, CANVAS), (228, 220, 200))
    pen = ImageDraw.Draw(canvas)
    warm = [(240, 170, 60), (226, 96, 60), (250, 214, 120), (168, 84, 132), (120, 150, 60)]
    cool = [(70, 120, 190), (140, 180, 220), (90, 170, 170), (210, 200, 230), (240, 190, 170)]
    for _ in range(26000):
        x, y = rng.random(2)
        shore = 0.58 + 0.1 * np.sin(5 * x) + 0.04 * np.sin(14 * x)
        near_sun = np.hypot(x - 0.7, y - 0.25) < 0.15 + rng.normal(0, 0.02)
        color = (250, 206, 90) if near_sun and rng.random() < 0.8 else pick(warm if y > shore else cool, rng.random())
        r = rng.uniform(4, 8)
        x, y = x * CANVAS, y * CANVAS
        pen.ellipse((x - r, y - r, x + r, y + r), fill=varied(rng, color, 10))
    return canvas


def charcoal(rng: np.random.Generator) -> Image.Image:
    """Charcoal: grainy strokes in layers on gray paper, some of them smudged."""
    canvas = Image.new("L", (CANVAS, CANVAS), 206)
    for layer in range(3):
        pen = ImageDraw.Draw(canvas)
        for _ in range(300):
            x, y = rng.random(2) * CANVAS
            angle = 0.7 + 0.5 * np.sin(3 * x / CANVAS) + rng.normal(0, 0.25) + layer
            length, shade = rng.uniform(60, 300), int(rng.uniform(20, 130))
            ends = [(x, y), (x + length * np.cos(angle), y + length * np.sin(angle))]
            pen.line(ends, fill=shade, width=int(rng.uniform(2, 16)))
        if layer < 2:
            canvas = canvas.filter(ImageFilter.GaussianBlur(9))
    grain = rng.normal(0, 1, (CANVAS // 2, CANVAS // 2)).repeat(2, 0).repeat(2, 1)
    pixels = np.asarray(canvas, float)
    pixels = pixels + grain * (10 + 34 * (pixels < 150))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")


def neon(rng: np.random.Generator) -> Image.Image:
    """Neon: glowing curves in pink, cyan and violet on a night blue ground."""
    palette = [(255, 40, 150), (40, 230, 255), (150, 70, 255), (255, 190, 60)]
    light = np.zeros((CANVAS, CANVAS, 3))
    for index, color in enumerate(palette):
        lines = Image.new("L", (CANVAS, CANVAS), 0)
        pen = ImageDraw.Draw(lines)
        for _ in range(12 if index < 3 else 5):
            start, angle = rng.random(2) * CANVAS, rng.uniform(0, 2 * np.pi)
            bend, path = rng.normal(0, 0.09), [start]
            for _ in range(60):
                angle += bend + rng.normal(0, 0.05)
                path.append(path[-1] + 16 * np.array([np.cos(angle), np.sin(angle)]))
            pen.line([tuple(p) for p in path], fill=255, width=9, joint="curve")
        for blur, share in ((1, 1.0), (9, 0.9), (34, 1.3)):
            glow = np.asarray(lines.filter(ImageFilter.GaussianBlur(blur)), float) / 255
            light += share * glow[..., None] * np.array(color)
        core = np.asarray(lines.filter(ImageFilter.MinFilter(5)), float) / 255
        light += core[..., None] * 120
    return Image.fromarray((np.array([12, 10, 34]) + light).clip(0, 255).astype(np.uint8))


DRAWN = (
    waves,
    embers,
    shards,
    meadow,
    mosaic,
    ink,
    halftone,
    watercolour,
    woodcut,
    pointillism,
    charcoal,
    neon,
    linocut,
)


def main(names: Sequence[str]) -> None:
    """Write the named pictures as JPEG files, or all of them."""
    folder = Path(__file__).parent / "style"
    folder.mkdir(exist_ok=True)
    for seed, draw in enumerate(DRAWN):
        if names and draw.__name__ not in names:
            continue
        picture = draw(np.random.default_rng(seed)).filter(ImageFilter.GaussianBlur(SUPERSAMPLING / 2))
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(folder / f"{draw.__name__}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
