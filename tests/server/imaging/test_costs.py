"""The cost of a hostile picture: CPU seconds of this thread, and growth of memory in bytes.

Bounds are several times what was measured on a 2.5 GHz core. Without the checks each case takes many times its bound.
"""

import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging import codec, jpeg, png, webp
from stylewire_server.imaging.budgets import DecodeBudget
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.imaging.profiles import MAX_PROFILE_BYTES

LIMITS = ImageLimits()

MIB = 2**20

SPARE = 48 * MIB
"""Bytes for the file's own copies and the allocator."""


def file(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


SMALL = Image.new("RGB", (64, 64), (200, 40, 60))
PNG, JPEG, WEBP = file(SMALL, "PNG"), file(SMALL, "JPEG"), file(SMALL, "WEBP", lossless=True)


def png_with(extra: bytes) -> bytes:
    return PNG[:33] + extra + PNG[33:]


def webp_with(extra: bytes, frames: bytes = WEBP[12:], flags: int = 8) -> bytes:
    side = (63).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<II", 10, flags) + side + side + frames + extra
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animation(frames: int) -> bytes:
    side = (63).to_bytes(3, "little")
    frame = bytes(6) + side + side + bytes(4) + WEBP[12:]
    each = b"ANMF" + struct.pack("<I", len(frame)) + frame
    return webp_with(b"", b"ANIM" + struct.pack("<IIH", 6, 0, 0) + each * frames, 2)


def rationals(count: int) -> bytes:
    """EXIF data with that many numbers as the horizontal resolution."""
    head = b"MM\0*\0\0\0\x08" + struct.pack(">H", 1) + struct.pack(">HHII", 0x11A, 5, count, 26) + bytes(4)
    return head + b"\0\0\0\1\0\0\0\1" * count


def exif_segments(data: bytes) -> bytes:
    parts = (data[place : place + 65_500] for place in range(0, len(data), 65_500))
    return b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)


def interlaced(width: int, height: int) -> bytes:
    """RGBA of 16 bits in seven passes under the costliest filter."""
    pack, packed = zlib.compressobj(1), b""
    for x, y, across, down in png._PASSES:
        row = b"\4" + b"\x12" * (8 * -(-(width - x) // across))
        packed += b"".join(pack.compress(row) for _ in range(-(-(height - y) // down)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 1))
    return png.SIGNATURE + head + chunk(b"IDAT", packed + pack.flush()) + chunk(b"IEND")


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    data = file(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag
    head = struct.pack(">I4s4s4s4s4s", start + len(body), b"none", b"\2\x40\0\0", b"prtr", space, b"Lab ")
    white = struct.pack(">3i", 63190, 65536, 54061)
    return (head + bytes(12) + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body


def table(inputs: int, grid: int, said: int | None = None) -> bytes:
    """A lookup table of that many points a side; its header may say another number."""
    levels = np.random.default_rng(0).integers(0, 65_535, grid**inputs * 3, dtype=np.uint16)
    curve = np.linspace(0, 65_535, 4096).astype(">u2").tobytes()
    head = b"mft2" + bytes(4) + bytes([inputs, 3, said or grid, 0]) + struct.pack(">9i", *[65536, 0, 0, 0] * 2, 65536)
    return head + struct.pack(">HH", 4096, 4096) + curve * inputs + levels.astype(">u2").tobytes() + curve * 3


def multi_process(shared: Path, count: int, form: str) -> bytes:
    path = shared / "cases" / "icc_mpet.py"
    if not path.is_file():
        pytest.skip("no ../shared/cases/icc_mpet.py beside this checkout")
    scope = {"__name__": "case"}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    return file(SMALL, form, icc_profile=scope["profile"](count))


CASES: dict[str, tuple[Callable[[], bytes], float, int]] = {
    # name: (file, CPU seconds, bytes)
    "PNG, 1.4 million empty chunks": (lambda: png_with(chunk(b"teSt") * 1_390_000), 0.5, SPARE),
    "PNG, as many chunks as may be": (lambda: png_with(chunk(b"IDAT") * (png.MAX_CHUNKS - 3)), 0.7, SPARE),
    "PNG, EXIF of 2 million rationals": (lambda: png_with(chunk(b"eXIf", rationals(1_990_000))), 0.3, SPARE),
    "PNG, text of 64 MB": (lambda: png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB)), 0.5, SPARE),
    "PNG, profile of 64 MB": (lambda: png_with(chunk(b"iCCP", b"x\0\0" + BOMB)), 0.5, SPARE),
    "PNG, interlaced 16-bit RGBA": (lambda: interlaced(3546, 3546), 2.5, LIMITS.max_decode_bytes + SPARE),
    "PNG, RGBA of 25 Mpx": (lambda: flat("PNG", "RGBA", 5016), 2.5, LIMITS.max_decode_bytes + SPARE),
    "WebP, EXIF of 2 million rationals": (lambda: webp_with(exif_chunk(1_990_000)), 0.5, 3 * SPARE),
    "WebP, 2 million chunks": (lambda: webp_with(b"ABCD\0\0\0\0" * 1_990_000), 0.3, SPARE),
    "WebP, 9,000 frames": (lambda: animation(9_000), 0.3, SPARE),
    "WebP, lossless of 12.5 Mpx": (lambda: flat("WEBP", "RGBA", 3540), 2.0, LIMITS.max_decode_bytes + SPARE),
    "JPEG, EXIF of 2 million rationals": (lambda: jpeg_with(exif_segments(rationals(1_990_000))), 0.3, SPARE),
    "JPEG, 4 million segments": (lambda: jpeg_with(b"\xff\xec\0\2" * 4_000_000), 0.3, SPARE),
    "JPEG, 16 MB of fill bytes": (lambda: jpeg_with(b"\xff" * 16_000_000), 1.0, SPARE),
    "JPEG, 64 scans": (lambda: scans(2496, 64), 2.0, 2 * SPARE),
    "JPEG, 16 scans of 25 Mpx": (lambda: scans(5000, 16), 2.0, LIMITS.max_decode_bytes + SPARE),
    "JPEG, sequential of 64 Mpx": (lambda: flat("JPEG", "RGB", 8000), 1.5, SPARE),
    "profile, CMYK table": (lambda: tagged("CMYK", b"CMYK", table(4, 27)), 1.0, SPARE),
    "profile, RGB table": (lambda: tagged("RGB", b"RGB ", table(3, 80)), 1.0, SPARE),
    "profile, table of more than its bytes": (lambda: tagged("RGB", b"RGB ", table(3, 2, said=255)), 0.2, SPARE),
    "profile, 5 MB": (lambda: tagged("RGB", b"RGB ", table(3, 80) + bytes(MAX_PROFILE_BYTES)), 0.2, SPARE),
}

BOMB = zlib.compress(bytes(2**26))
"""64 MB of zeros in 65 kB."""


def jpeg_with(extra: bytes) -> bytes:
    return JPEG[:2] + extra + JPEG[2:]


def exif_chunk(count: int) -> bytes:
    data = rationals(count)
    return b"EXIF" + struct.pack("<I", len(data)) + data


def flat(form: str, mode: str, side: int) -> bytes:
    options = {"WEBP": {"lossless": True, "method": 0}, "PNG": {"compress_level": 1}, "JPEG": {}}[form]
    return file(Image.new(mode, (side, side), (10, 20, 30, 99)[: len(mode)]), form, **options)


def tagged(mode: str, space: bytes, lookup: bytes) -> bytes:
    return file(Image.new(mode, (512, 512)), "JPEG", icc_profile=profile(space, {b"A2B0": lookup}))


class Memory:
    """The peak of resident memory since this object was made, if the system reports it."""

    def __init__(self) -> None:
        self._status = Path("/proc/self/status")
        try:
            # proc(5): 5 sets the peak back to what is resident now.
            Path("/proc/self/clear_refs").write_text("5")
            self._before = self._peak()
        except OSError:
            self._before = None

    def grown(self) -> int:
        return 0 if self._before is None else self._peak() - self._before

    def _peak(self) -> int:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def measure(data: bytes, fit: Fit = Fit.CROP_256) -> tuple[float, int, str]:
    """Return the CPU seconds, the bytes and the outcome of a call."""
    memory = Memory()
    begin = time.thread_time()
    try:
        shape = codec.load(data, fit, LIMITS, "content").pixels.shape
        answer = f"{shape[1]}x{shape[0]} px"
    except InvalidInput as refusal:
        answer = str(refusal)
    return time.thread_time() - begin, memory.grown(), answer


@pytest.mark.parametrize("name", CASES)
def test_a_picture_costs_no_more_than_its_bound(name: str) -> None:
    make, seconds, size = CASES[name]
    data = make()
    assert len(data) <= LIMITS.max_encoded_bytes, "the case does not reach the reader"
    spent, grown, answer = measure(data)
    print(f"\n{name}: {len(data):,} bytes, {spent:.3f} CPU s, {grown / MIB:.0f} MiB: {answer}")
    assert spent <= seconds, answer
    assert grown <= size, answer


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("count", [1_000, 30_000])
def test_multi_process_elements_are_never_applied(form: str, count: int, shared: Path) -> None:
    spent, grown, answer = measure(multi_process(shared, count, form))
    assert answer == "256x256 px"
    assert spent <= 0.2
    assert grown <= SPARE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: flat("WEBP", "RGB", 3600), "3600x3600 px = 13.0 Mpx; the limit is 12.6 Mpx for a WEBP file"),
        (lambda: interlaced(3600, 3600), "the limit is 12.6 Mpx for a PNG file"),
        (lambda: flat("PNG", "L", 5100), "5100x5100 px = 26.0 Mpx; the limit is 25.2 Mpx for a PNG file"),
        (lambda: scans(5100, 12), "the limit is 25.2 Mpx for a JPEG file that is not sequential"),
        (lambda: scans(4000, 30), "is a JPEG file of more than 25 scans, which is the limit at 16.0 Mpx"),
        (lambda: png_with(chunk(b"teSt") * png.MAX_CHUNKS), "is a PNG file of more than 20,000 chunks"),
        (lambda: jpeg_with(b"\xff\xec\0\2" * jpeg.MAX_SEGMENTS), "is a JPEG file of more than 10,000 segments"),
        (lambda: webp_with(b"ABCD\0\0\0\0" * webp.MAX_CHUNKS), "is a WebP file of more than 10,000 chunks"),
    ],
)
def test_refusals_name_value_and_limit(data: Callable[[], bytes], words: str) -> None:
    spent, _, answer = measure(data())
    assert words in answer
    assert spent <= 0.3


def test_a_common_camera_file_is_brought_to_size_within_its_bound() -> None:
    """8192x6144 px, which phones call 50 megapixels."""
    noise = Image.effect_noise((1024, 768), 40).resize((8192, 6144), Image.Resampling.BICUBIC).convert("RGB")
    spent, grown, answer = measure(file(noise, "JPEG", quality=85))
    assert answer == "256x256 px"
    assert spent <= 2.0
    assert grown <= SPARE


def test_one_call_has_a_budget() -> None:
    """Sequential JPEG files count once, others four times."""
    limits = ImageLimits(max_decode_pixels=100_000)
    cheap, costly = file(Image.new("RGB", (300, 300)), "JPEG"), file(Image.new("RGB", (300, 300)), "PNG")
    budget = DecodeBudget(limits)
    for number in range(4):
        codec.load(cheap, Fit.CROP_256, limits, f"styles[{number}]", budget=budget)
    with pytest.raises(InvalidInput, match=r"up to styles\[4\], have 0.5 Mpx; the limit is 0.4 Mpx") as caught:
        codec.load(cheap, Fit.CROP_256, limits, "styles[4]", budget=budget)
    assert caught.value.field == "styles[4]"
    budget = DecodeBudget(limits)
    codec.load(costly, Fit.CROP_256, limits, "content", budget=budget)
    with pytest.raises(InvalidInput, match="Mpx"):
        codec.load(costly, Fit.CROP_256, limits, "style", budget=budget)


def test_giants_of_a_few_bytes_in_one_call_stop_at_the_budget() -> None:
    """Seventeen WebP files of 40 bytes that are 12.5 Mpx each."""
    giant, budget = flat("WEBP", "RGB", 3540), DecodeBudget(LIMITS)
    begin, decoded = time.thread_time(), 0
    with pytest.raises(InvalidInput, match="the pictures of this call"):
        for number in range(17):
            codec.load(giant, Fit.SQUASH_256, LIMITS, f"styles[{number}]", budget=budget)
            decoded += 1
    assert decoded == 5
    assert time.thread_time() - begin <= 6.0
