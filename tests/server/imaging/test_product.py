"""Files of every kind, made by hand, against pixels that are known because they were drawn.

The product of format, mode, bits, transparency, declared colors, interlacing, orientation, and damage and its place.
The expected colors are computed here, in floating point, by the published formulas; no color engine is asked.
"""

import io
import itertools
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging.codec import load
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits

LIMITS = ImageLimits(min_side=1)

HEIGHT, WIDTH = 18, 26

TOLERANCE = 2
"""Levels of 255."""

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
NAMES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray+alpha", 6: "RGBA"}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


P3_COLORANTS = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""Columns rXYZ, gXYZ and bXYZ of Apple's Display P3 profile, adapted to D50."""

SRGB_COLORANTS = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
"""The colorants of sRGB (ICC's sRGB profile)."""


def icc(space: bytes, gamma: float, colorants: tuple[tuple[float, ...], ...] = ()) -> bytes:
    """An ICC profile with that gamma, and for RGB these colorants."""
    curve = b"para" + bytes(4) + bytes(4) + fixed(gamma)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)}
    tags |= {name + b"TRC": curve for name in ((b"r", b"g", b"b") if space == b"RGB " else (b"k",))}
    tags |= {n + b"XYZ": b"XYZ " + bytes(4) + fixed(*xyz) for n, xyz in zip((b"r", b"g", b"b"), colorants)}  # noqa: B905
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag
    head = struct.pack(">I4s4s4s4s4s", start + len(body), b"none", b"\4\x30\0\0", b"mntr", space, b"XYZ ")
    return (head + bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0") + table + body


def to_matrix(primaries: list[tuple[float, float]]) -> np.ndarray:
    """Linear RGB of these primaries and D65 to XYZ (SMPTE RP 177)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


SRGB = to_matrix([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)])
P3 = to_matrix([(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)])


def encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB (IEC 61966-2-1)."""
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def by_gamma(gamma: float, primaries: np.ndarray = SRGB) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rgb: encoded(rgb**gamma @ (np.linalg.inv(SRGB) @ primaries).T)


P3_PRIMARIES = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)

COLORS: dict[str, tuple[bytes, Callable[[np.ndarray], np.ndarray]]] = {
    "none": (b"", lambda rgb: rgb),
    "sRGB and gAMA 1": (chunk(b"sRGB", b"\0") + chunk(b"gAMA", struct.pack(">I", 100_000)), lambda rgb: rgb),
    "gAMA 1/2.2": (chunk(b"gAMA", struct.pack(">I", 45_455)), lambda rgb: rgb),
    "gAMA 1/1.8": (chunk(b"gAMA", struct.pack(">I", 55_556)), by_gamma(1.8)),
    "gAMA and cHRM of P3": (
        chunk(b"gAMA", struct.pack(">I", 45_455)) + chunk(b"cHRM", P3_PRIMARIES),
        by_gamma(1 / 0.45455, P3),
    ),
    "cICP of P3": (
        chunk(b"cICP", b"\x0c\x0d\0\1") + chunk(b"gAMA", struct.pack(">I", 100_000)),
        lambda rgb: encoded(linear(rgb) @ (np.linalg.inv(SRGB) @ P3).T),
    ),
    "ICC RGB 1.8": (chunk(b"iCCP", b"x\0\0" + zlib.compress(icc(b"RGB ", 1.8, SRGB_COLORANTS))), by_gamma(1.8)),
    "ICC P3 2.2": (chunk(b"iCCP", b"x\0\0" + zlib.compress(icc(b"RGB ", 2.2, P3_COLORANTS))), by_gamma(2.2, P3)),
    "ICC gray 1.0": (chunk(b"iCCP", b"x\0\0" + zlib.compress(icc(b"GRAY", 1.0))), by_gamma(1.0)),
}

PALETTE = np.stack([np.arange(256) * 7 % 251, np.arange(256) * 3 % 249, 255 - np.arange(256) * 5 % 253], -1)


@dataclass(frozen=True)
class Drawing:
    """A PNG file to be made."""

    kind: int
    bits: int
    clear: bool
    colors: str
    interlaced: bool
    turned: bool

    def levels(self) -> np.ndarray:
        """Levels [H,W,channels] of that many bits: ramps in other directions for each channel."""
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        ramps = [x / (WIDTH - 1), y / (HEIGHT - 1), (x + y) / (WIDTH + HEIGHT - 2), 1 - x / (WIDTH - 1)]
        return np.rint(np.stack(ramps[: CHANNELS[self.kind]], -1) * (2**self.bits - 1)).astype(int)

    def transparency(self) -> bytes:
        """The body of a tRNS chunk."""
        if self.kind == 3:
            return bytes([0, 128, 255][: 2**self.bits])
        return struct.pack(f">{CHANNELS[self.kind]}H", *self.levels()[HEIGHT // 2, WIDTH // 2])

    def expected(self) -> np.ndarray:
        """Levels [H,W,3] of 255 as a careful viewer shows them on white."""
        levels = self.levels()
        values = levels / (2**self.bits - 1)
        if self.bits == 16 and self.kind != 0:
            # Of colors Pillow keeps the upper 8 of 16 bits: up to 1 level less, before they are converted.
            values = (levels >> 8) / 255
        alpha = np.ones((HEIGHT, WIDTH, 1))
        if self.kind in {4, 6}:
            values, alpha = values[..., :-1], values[..., -1:]
        if self.clear:
            if self.kind == 3:
                table = np.ones(256)
                table[: len(self.transparency())] = np.frombuffer(self.transparency(), np.uint8) / 255
                alpha = table[levels]
            else:
                alpha = (levels != levels[HEIGHT // 2, WIDTH // 2]).any(-1, keepdims=True).astype(float)
        if self.kind == 3:
            values = PALETTE[levels[..., 0]] / 255
        rgb = np.broadcast_to(values, (HEIGHT, WIDTH, 3))
        shown = (COLORS[self.colors][1](rgb) * alpha + 1 - alpha) * 255
        return np.rot90(shown, -1) if self.turned else shown

    def chunks(self) -> list[bytes]:
        """The file's chunks."""
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, self.bits, self.kind, 0, 0, self.interlaced)
        found = [chunk(b"IHDR", header), COLORS[self.colors][0]]
        if self.kind == 3:
            found.append(chunk(b"PLTE", PALETTE[: 2**self.bits].astype(np.uint8).tobytes()))
        if self.clear:
            found.append(chunk(b"tRNS", self.transparency()))
        if self.turned:
            found.append(chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"))
        return [*found, chunk(b"IDAT", zlib.compress(self.rows())), chunk(b"IEND", b"")]

    def rows(self) -> bytes:
        """Rows with their filter bytes; the filters None, Sub and Up take turns."""
        levels = self.levels()
        parts = [levels[y::down, x::across] for x, y, across, down in PASSES] if self.interlaced else [levels]
        return b"".join(self._filtered(part) for part in parts if part.size)

    def _filtered(self, levels: np.ndarray) -> bytes:
        flat = levels.reshape(len(levels), -1)
        if self.bits == 16:
            packed = flat.astype(">u2").view(np.uint8)
        else:
            bits = np.unpackbits(flat.astype(np.uint8)[..., np.newaxis], axis=-1)[..., 8 - self.bits :]
            packed = np.packbits(bits.reshape(len(flat), -1), axis=-1)
        step = max(1, CHANNELS[self.kind] * self.bits // 8)
        before = np.zeros(packed.shape[1], np.uint8)
        rows = []
        for number, row in enumerate(packed):
            left = np.concatenate([np.zeros(step, np.uint8), row])[: len(row)]
            rows.append(bytes([number % 3]) + (row, row - left, row - before)[number % 3].tobytes())
            before = row
        return b"".join(rows)


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def drawings() -> Iterator[Drawing]:
    for kind, bits in ((kind, bits) for kind, depths in DEPTHS.items() for bits in depths):
        for colors in COLORS:
            if colors == "ICC gray 1.0" and kind not in {0, 4}:
                continue
            for clear, interlaced, turned in itertools.product((False, True), repeat=3):
                if not (clear and kind in {4, 6}):
                    yield Drawing(kind, bits, clear, colors, interlaced, turned)


def decoded(data: bytes) -> np.ndarray:
    return load(data, Fit.NATIVE, LIMITS, "content").pixels


def test_png_of_every_kind_shows_what_was_drawn() -> None:
    counts: Counter[str] = Counter()
    for drawing in drawings():
        shown = decoded(SIGNATURE + b"".join(drawing.chunks()))
        expected = drawing.expected()
        assert shown.shape == expected.shape, drawing
        assert np.abs(shown - expected).max() <= TOLERANCE, drawing
        counts[f"{NAMES[drawing.kind]}, {drawing.bits} bits"] += 1
        counts[drawing.colors] += 1
    total = sum(count for name, count in counts.items() if name in COLORS)
    print(f"\n{total} PNG files", *(f"{count:6d}  {name}" for name, count in counts.items()), sep="\n")
    assert total >= 500


def test_where_no_tone_maps_a_step_of_light_has_not_moved() -> None:
    """The test can fail: without conversion, files that declare colors are off by more than the tolerance."""
    for colors in COLORS:
        drawing = Drawing(2, 8, False, colors, False, False)
        moved = np.abs(drawing.expected() - replace(drawing, colors="none").expected()).max()
        assert (moved > 5 * TOLERANCE) == (colors not in {"none", "sRGB and gAMA 1", "gAMA 1/2.2"}), colors


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 0x10]) + body[place + 1 :]


def replaced(chunks: list[bytes], kind: bytes, new: bytes) -> bytes:
    return SIGNATURE + b"".join(new if part[4:8] == kind else part for part in chunks)


def damaged(drawing: Drawing) -> Iterator[tuple[str, bytes]]:
    """Files whose pixels are damaged or missing."""
    chunks = drawing.chunks()
    pixels = next(part for part in chunks if part[4:8] == b"IDAT")
    packed = pixels[8:-4]
    yield "zlib header", replaced(chunks, b"IDAT", flipped(pixels, 8))
    for share in (0.2, 0.5, 0.8):
        place = 10 + int(share * (len(packed) - 8))
        yield "bit in the pixels", replaced(chunks, b"IDAT", flipped(pixels, place))
        yield "file cut in the pixels", SIGNATURE + b"".join(chunks[:-2]) + pixels[:place]
        yield "pixels cut", replaced(chunks, b"IDAT", chunk(b"IDAT", packed[: place - 8]))
    rows = drawing.rows()
    yield "rows missing", replaced(chunks, b"IDAT", chunk(b"IDAT", zlib.compress(rows[: len(rows) // 2])))
    yield "last byte missing", replaced(chunks, b"IDAT", chunk(b"IDAT", zlib.compress(rows[:-1])))
    yield "filter 9", replaced(chunks, b"IDAT", chunk(b"IDAT", zlib.compress(b"\x09" + rows[1:])))
    both = flipped(chunk(b"IDAT", flipped(packed, len(packed) - 2)), len(pixels) - 2)
    yield "both checksums", replaced(chunks, b"IDAT", both)
    yield "no pixels", replaced(chunks, b"IDAT", b"")
    yield "header's checksum", SIGNATURE + flipped(chunks[0], len(chunks[0]) - 1) + b"".join(chunks[1:])
    if drawing.kind == 3:
        palette = next(part for part in chunks if part[4:8] == b"PLTE")
        yield "palette's checksum", replaced(chunks, b"PLTE", flipped(palette, 9))
        yield "no palette", replaced(chunks, b"PLTE", b"")


def harmless(drawing: Drawing) -> Iterator[tuple[str, bytes]]:
    """Files that are damaged beside their pixels only."""
    chunks = drawing.chunks()
    pixels = next(part for part in chunks if part[4:8] == b"IDAT")
    packed = pixels[8:-4]
    for name in (b"tEXt", b"iCCP", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"acTL", b"eXIf", b"cICP", b"cHRM"):
        extra = chunk(name, b"x\0\0" + zlib.compress(bytes(100)))
        yield (
            "checksum beside the pixels",
            SIGNATURE + chunks[0] + flipped(extra, len(extra) - 1) + b"".join(chunks[1:]),
        )
        yield "empty chunk", SIGNATURE + chunks[0] + chunk(name, b"") + b"".join(chunks[1:])
        yield "chunk of nonsense", SIGNATURE + chunks[0] + chunk(name, b"\xff\xfe\x09") + b"".join(chunks[1:])
    yield (
        "large text",
        SIGNATURE + chunks[0] + chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(3_000_000))) + b"".join(chunks[1:]),
    )
    if not drawing.clear and drawing.kind != 3:
        yield "empty transparency", SIGNATURE + chunks[0] + chunk(b"tRNS", b"") + b"".join(chunks[1:])
    yield "checksum of the chunk alone", replaced(chunks, b"IDAT", flipped(pixels, len(pixels) - 1))
    yield "checksum of the data alone", replaced(chunks, b"IDAT", chunk(b"IDAT", flipped(packed, len(packed) - 1)))
    yield "no end", SIGNATURE + b"".join(chunks[:-1])
    yield "cut in the last checksum", SIGNATURE + b"".join(chunks[:-2]) + pixels[:-2]
    yield "cut in the data's checksum", SIGNATURE + b"".join(chunks[:-2]) + pixels[:-6]
    yield "bytes behind the end", SIGNATURE + b"".join(chunks) + b"more" * 100
    yield "rows too many", replaced(chunks, b"IDAT", chunk(b"IDAT", zlib.compress(drawing.rows() + bytes(500))))
    many = b"".join(chunk(b"IDAT", packed[place : place + 7]) for place in range(0, len(packed), 7))
    yield "many small chunks", replaced(chunks, b"IDAT", many + chunk(b"IDAT", b""))


def some_drawings() -> Iterator[Drawing]:
    return (
        Drawing(kind, depths[-1], False, "none", interlaced, False)
        for kind, depths in DEPTHS.items()
        for interlaced in (False, True)
    )


def test_damaged_pixels_are_refused_and_faults_beside_them_are_not() -> None:
    counts: Counter[str] = Counter()
    for drawing in some_drawings():
        for kind, data in damaged(drawing):
            with pytest.raises(InvalidInput, match="truncated or damaged PNG"):
                pytest.fail(f"{kind}: {drawing} gives {decoded(data).mean()}")
            counts[f"refused: {kind}"] += 1
        for kind, data in harmless(drawing):
            try:
                shown = decoded(data)
            except InvalidInput as error:
                pytest.fail(f"{kind}: {drawing}: {error}")
            assert np.abs(shown - drawing.expected()).max() <= TOLERANCE, (kind, drawing)
            counts[f"shown: {kind}"] += 1
    print(f"\n{counts.total()} PNG files", *(f"{count:6d}  {name}" for name, count in counts.items()), sep="\n")


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""EXIF orientation -> what a viewer does with the stored picture (Exif 3.0, 4.6.5)."""


def smooth(channels: int) -> np.ndarray:
    return np.rint(Drawing(6, 8, False, "none", False, False).levels()[..., :channels] * 0.6 + 50).astype(np.uint8)


def jpeg_and_webp() -> Iterator[tuple[str, bytes, np.ndarray]]:
    """(kind, file, levels [H,W,3] as drawn)."""
    profiles = {"RGB": icc(b"RGB ", 1.8, SRGB_COLORANTS), "L": icc(b"GRAY", 1.8)}
    for mode, form, tagged, turn in itertools.product(("L", "RGB", "CMYK", "RGBA"), ("JPEG", "WEBP"), (0, 1), TURNS):
        if (
            (mode in {"L", "CMYK"} and form == "WEBP")
            or (mode == "RGBA" and form == "JPEG")
            or (tagged and mode == "CMYK")
        ):
            continue
        stored = smooth({"L": 1, "RGB": 3, "CMYK": 4, "RGBA": 4}[mode])
        values = stored / 255
        if mode == "CMYK":
            rgb, alpha = (1 - values[..., :3]) * (1 - values[..., 3:]), np.ones((HEIGHT, WIDTH, 1))
        else:
            rgb = np.broadcast_to(values[..., :3], (HEIGHT, WIDTH, 3))
            alpha = values[..., 3:] if mode == "RGBA" else np.ones((HEIGHT, WIDTH, 1))
        shown = by_gamma(1.8)(rgb) if tagged else rgb
        expected = TURNS[turn]((shown * alpha + 1 - alpha) * 255)
        exif = Image.Exif()
        exif[274] = turn
        options = {"exif": exif} | ({"icc_profile": profiles[mode[:3]]} if tagged else {})
        image = Image.fromarray(stored[..., 0] if mode == "L" else stored, mode)
        for progressive in (False, True) if form == "JPEG" else (False,):
            out = io.BytesIO()
            extra = {"lossless": True, "exact": True} if form == "WEBP" else {"quality": 100, "subsampling": 0}
            image.save(out, form, **options, **extra, progressive=progressive)
            yield f"{form} {'progressive ' * progressive}{mode}{', ICC' * bool(tagged)}", out.getvalue(), expected


def test_jpeg_and_webp_of_every_kind_show_what_was_drawn() -> None:
    counts: Counter[str] = Counter()
    for kind, data, expected in jpeg_and_webp():
        variants = {"": data}
        if kind.startswith("JPEG"):
            # Rounding in the DCT is not the reader's.
            variants |= {
                ", no end": data[:-2],
                ", end overwritten": data[:-2] + b"\0\0",
                ", bytes behind": data + b"x" * 99,
            }
        for name, variant in variants.items():
            shown = decoded(variant)
            assert shown.shape == expected.shape, kind + name
            assert np.abs(shown - expected).max() <= TOLERANCE + 2 * kind.startswith("JPEG"), kind + name
            counts[kind + name] += 1
        for share in (0.5, 0.7, 0.9, 0.97):
            cut = data[: int(len(data) * share)]
            with pytest.raises(InvalidInput, match="truncated or damaged"):
                pytest.fail(f"{kind} cut at {share} gives {decoded(cut).mean()}")
            counts[f"refused: {kind.split()[0]}, cut"] += 1
    print(f"\n{counts.total()} files", *(f"{count:6d}  {name}" for name, count in counts.items()), sep="\n")
