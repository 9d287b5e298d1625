"""Decoding and encoding of pictures: formats, color, orientation, limits, sizes."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging import color
from stylewire_server.imaging.budgets import WHOLE_COST
from stylewire_server.imaging.codec import Encoding, encode, load, sizes
from stylewire_server.imaging.fit import Fit, resize_to_square
from stylewire_server.imaging.limits import ImageLimits

LIMITS = ImageLimits()


def file(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def gradient(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pixels(data: bytes, fit: Fit = Fit.NATIVE, limits: ImageLimits = LIMITS) -> np.ndarray:
    return load(data, fit, limits, "content").pixels


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_lossless_formats_arrive_exactly(form: str) -> None:
    picture = gradient(61, 40)
    decoded = load(file(Image.fromarray(picture), form, lossless=True), Fit.NATIVE, LIMITS, "content")
    assert decoded.encoding is Encoding(form)
    np.testing.assert_array_equal(decoded.pixels, picture)


def test_jpeg_arrives_nearly() -> None:
    picture = gradient(64, 64) // 2
    picture[..., 2] = 90
    decoded = load(file(Image.fromarray(picture), "JPEG", quality=98, subsampling=0), Fit.NATIVE, LIMITS, "content")
    assert decoded.encoding is Encoding.JPEG
    assert np.abs(decoded.pixels.astype(int) - picture).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", list(Fit))
def test_exif_orientation_is_applied(orientation: int, fit: Fit) -> None:
    """A turned file of a camera gives the same pixels as the upright picture."""
    upright = Image.fromarray(gradient(300, 200))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[274] = orientation
    turned = pixels(file(stored, exif=exif), fit)
    expected = pixels(file(upright), fit)
    assert turned.shape == expected.shape
    assert np.abs(turned.astype(int) - expected).max() <= 1


def test_alpha_is_composed_on_white() -> None:
    picture = np.zeros((20, 20, 4), np.uint8)
    picture[..., 0] = 200
    picture[:, :10, 3] = 0
    picture[:, 10:, 3] = 128
    decoded = pixels(file(Image.fromarray(picture)))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(decoded[0, 15], [227, 127, 127], atol=1)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    assert pixels(file(image))[3, 3].tolist() == [10, 200, 30]
    assert pixels(file(image, transparency=1))[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(gradient(32, 32)).convert("L").convert(mode)
    decoded = pixels(file(image))
    assert decoded.shape == (32, 32, 3)
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])
    np.testing.assert_array_equal(decoded[..., 0], np.asarray(image.convert("L")))


def gray_png(levels: np.ndarray, bits: int, clear: int) -> bytes:
    """Levels [H,W] of that many bits each as a gray PNG with a tRNS chunk for one of them; Pillow writes 8 or 16."""
    if bits == 16:
        rows = levels.astype(">u2").view(np.uint8).reshape(len(levels), -1)
    else:
        spread = np.unpackbits(levels.astype(np.uint8)[..., np.newaxis], axis=-1)[..., 8 - bits :]
        rows = np.packbits(spread.reshape(len(levels), -1), axis=-1)
    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], bits, 0, 0, 0, 0)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    chunks = [
        chunk(b"IHDR", header),
        chunk(b"tRNS", struct.pack(">H", clear)),
        chunk(b"IDAT", data),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("bits", "clear"), [(1, 0), (1, 1), (2, 0), (2, 1), (4, 0), (4, 5), (8, 0), (8, 85), (16, 0), (16, 0x1234)]
)
def test_the_transparent_level_of_gray_is_white_and_the_others_are_what_they_are(bits: int, clear: int) -> None:
    most = 2**bits - 1
    levels = np.linspace(0, most, 256).round().astype(int).reshape(16, 16)
    levels[3, :3] = clear, min(clear + 1, most), max(clear - 1, 0)
    expected = np.rint(levels * 255 / most).astype(np.uint8)
    expected[levels == clear] = 255
    decoded = pixels(gray_png(levels, bits, clear))
    for channel in range(3):
        np.testing.assert_array_equal(decoded[..., channel], expected)


def test_sixteen_bit_gray_is_rounded_not_cut() -> None:
    levels = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    decoded = pixels(file(Image.fromarray(levels)))
    np.testing.assert_array_equal(decoded[..., 1], np.rint(levels / 257).astype(np.uint8))


def test_cmyk_jpeg() -> None:
    image = Image.fromarray(np.full((32, 32, 3), (200, 40, 60), np.uint8)).convert("CMYK")
    decoded = pixels(file(image, "JPEG", quality=95))
    np.testing.assert_allclose(decoded[16, 16], [200, 40, 60], atol=6)


def test_color_profile_is_converted_to_srgb() -> None:
    """The same bytes with a wide profile built from Lab mean other colors in sRGB."""
    picture = np.full((32, 32, 3), (120, 180, 90), np.uint8)
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    plain = pixels(file(Image.fromarray(picture)))
    tagged_srgb = file(
        Image.fromarray(picture), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    np.testing.assert_array_equal(pixels(tagged_srgb), plain)
    unusable = pixels(file(Image.fromarray(picture), icc_profile=linear[:60]))
    np.testing.assert_array_equal(unusable, plain)
    swapped = pixels(file(Image.fromarray(picture), icc_profile=_profile_with_swapped_primaries()))
    assert swapped[5, 5, 0] > swapped[5, 5, 1], "red and green should have changed places"


def _profile_with_swapped_primaries() -> bytes:
    """An sRGB profile whose rXYZ and gXYZ tags point at each other's data (ICC.1:2010, 7.3)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"] + 4, entries[b"gXYZ"] + 4
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    profile[84:100] = bytes(16)
    # The description would say sRGB, which is taken at its word.
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be")).replace(b"sRGB b", b"odd! b")


def profile(description: str, gamma: float, padding: int = 0) -> bytes:
    """A display profile with the primaries of sRGB and that gamma (ICC.1:2001-04, 6), and bytes that mean nothing."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    name = description.encode() + b"\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0nobody\0",
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.4360, 0.2225, 0.0139),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.3851, 0.7169, 0.0971),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1431, 0.0606, 0.7141),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for key, value in tags.items():
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    body += bytes(padding)
    header = struct.pack(">I4s4s4s4s4s", start + len(body), b"lcms", b"\2\x40\0\0", b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("name", ["GIMP built-in Linear sRGB", "linear light"])
def test_a_profile_is_applied_though_its_name_has_srgb_in_it(name: str) -> None:
    picture = np.full((32, 32, 3), 55, np.uint8)
    decoded = pixels(file(Image.fromarray(picture), icc_profile=profile(name, 1.0)))
    # IEC 61966-2-1: linear light of 55/255 is 1.055 * 0.2157 ** (1 / 2.4) - 0.055.
    np.testing.assert_allclose(decoded, 128, atol=1)


def test_bytes_of_no_meaning_in_a_profile_are_dropped() -> None:
    color.kept_transform.cache_clear()
    for padding in (0, 1000, 64 * 2**10):
        tagged = file(Image.new("RGB", (32, 32), (55, 55, 55)), icc_profile=profile("linear light", 1.0, padding))
        np.testing.assert_allclose(pixels(tagged), 128, atol=1)
    assert color.kept_transform.cache_info().currsize == 1


def progressive(scans: int) -> bytes:
    """A JPEG of that many scans, the last of which is there again and again."""
    data = file(Image.fromarray(gradient(64, 64)), "JPEG", progressive=True)
    own, last = data.count(b"\xff\xda"), data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - own) + data[-2:]


def hidden(scans: int) -> bytes:
    """A JPEG of 4000x4000 px whose scans are where a damaged marker's length would lead past them.

    libjpeg looks for the next marker after damage in a file with restarts (jdmarker.c, jpeg_resync_to_restart).
    """

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    tables = segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC2, struct.pack(">BHHB", 8, 4000, 4000, 1) + b"\1\x11\0")
    tables += segment(0xC4, b"\0\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    first = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + b"\xff\x02\xff\xff"
    further = segment(0xDA, bytes([1, 1, 0, 1, 63, 0]))
    return b"\xff\xd8" + tables + segment(0xDD, struct.pack(">H", 60_000)) + first + further * scans + b"\xff\xd9"


def test_scans_cannot_be_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pixels(hidden(3), Fit.CROP_256).shape == (256, 256, 3)
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(InvalidInput, match=r"more than 25 scans, which is the limit at 16\.0 Mpx"):
        pixels(hidden(100))


@pytest.mark.parametrize("scans", [65, 200, 10_000])
def test_a_jpeg_of_more_scans_than_any_needs_is_refused_before_it_is_decoded(
    scans: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(InvalidInput, match="content is a JPEG file of more than 64 scans") as caught:
        pixels(progressive(scans))
    assert caught.value.field == "content"


def test_a_progressive_jpeg_is_read() -> None:
    plain = pixels(file(Image.fromarray(gradient(64, 64)), "JPEG"))
    np.testing.assert_array_equal(pixels(file(Image.fromarray(gradient(64, 64)), "JPEG", progressive=True)), plain)
    # Bits that come again and again make another picture, but it is one.
    assert pixels(progressive(64)).shape == plain.shape


@pytest.mark.parametrize("place", ["a segment", "a segment of a progressive one", "behind the end"])
def test_what_looks_like_scans_and_is_none_does_not_count(place: str) -> None:
    plain = file(Image.fromarray(gradient(64, 64)), "JPEG", progressive="progressive" in place)
    marks = b"\xff\xda" * 5000
    segment = b"\xff\xe5" + struct.pack(">H", 2 + len(marks)) + marks
    marked = plain + marks if place == "behind the end" else plain[:2] + segment + plain[2:]
    np.testing.assert_array_equal(pixels(marked), pixels(plain))


def test_the_first_of_several_pictures_in_a_file_of_a_camera() -> None:
    """MPO: JPEG with depth, the other eye or a preview behind it."""
    first, other = Image.fromarray(gradient(64, 64)), Image.new("RGB", (64, 64), "red")
    several = file(first, "MPO", save_all=True, append_images=[other] * 30)
    decoded = load(several, Fit.NATIVE, LIMITS, "content")
    assert decoded.encoding is Encoding.JPEG
    np.testing.assert_array_equal(decoded.pixels, pixels(file(first, "JPEG")))


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    data = file(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        (Fit.CROP_256, (600, 400), (256, 256)),
        (Fit.SQUASH_256, (600, 400), (256, 256)),
        (Fit.KEEP_256, (600, 400), (384, 256)),
        (Fit.KEEP_256, (100, 150), (256, 384)),
        (Fit.NATIVE, (601, 403), (601, 403)),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_fits(fit: Fit, size: tuple[int, int], expected: tuple[int, int], form: str) -> None:
    decoded = pixels(file(Image.fromarray(gradient(*size)), form), fit)
    assert decoded.shape == (expected[1], expected[0], 3)


def test_crop_takes_the_center() -> None:
    picture = np.zeros((256, 768, 3), np.uint8)
    picture[:, 256:512] = 255
    assert pixels(file(Image.fromarray(picture)), Fit.CROP_256).min() == 255
    assert pixels(file(Image.fromarray(picture), "JPEG"), Fit.CROP_256).min() >= 250


def test_resizing_does_not_alias() -> None:
    """A checkerboard far finer than the target becomes gray, not a moiré of black and white."""
    board = (np.indices((2048, 2048)).sum(0) % 2 * 255).astype(np.uint8)
    decoded = pixels(file(Image.fromarray(np.stack([board] * 3, -1))), Fit.SQUASH_256)
    assert np.abs(decoded.astype(int) - 127).max() <= 12


def test_reduced_jpeg_decoding_looks_like_full_decoding(photo) -> None:
    """Decoding at 1/2 scale against decoding in full and Lanczos: at least 35 dB on a photograph."""
    with Image.open(photo) as image:
        full = np.asarray(image.convert("RGB").resize((256, 256), Image.Resampling.LANCZOS), np.float64)
    drafted = pixels(photo.read_bytes(), Fit.CROP_256)
    psnr = 10 * np.log10(255**2 / np.mean((full - drafted) ** 2))
    assert psnr >= 35, f"{psnr:.1f} dB"


def test_raw_pixels_pass_through_and_fit() -> None:
    picture = gradient(50, 40)
    assert load(picture, Fit.NATIVE, LIMITS, "content").pixels is picture
    assert load(picture, Fit.CROP_256, LIMITS, "content").pixels.shape == (256, 256, 3)
    assert load(picture, Fit.NATIVE, LIMITS, "content").encoding is Encoding.RAW_PIXELS


def test_resize_to_square() -> None:
    assert resize_to_square(gradient(100, 70)).shape == (256, 256, 3)
    square = gradient(256, 256)
    assert resize_to_square(square) is square


def png_header(width: int, height: int) -> bytes:
    """Return a PNG with that header and almost no data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["content is empty", "0 bytes"]),
        (b"just some text, renamed", ["not a JPEG, PNG or WebP", "23 bytes"]),
        (b"GIF89a" + bytes(100), ["not a JPEG, PNG or WebP"]),
        (png_header(100_000, 100_000), ["100000x100000 px", "10,000.0 Mpx", "limit is 64.0 Mpx"]),
        (png_header(9000, 7000), ["9000x7000 px = 63.0 Mpx; the limit is 25.2 Mpx for a PNG file", "64.0 Mpx"]),
        (file(Image.new("RGB", (15, 300))), ["15x300 px", "at least 16 px"]),
        (file(Image.fromarray(gradient(300, 300)), "JPEG")[:2000], ["truncated or damaged JPEG", "2,000 bytes"]),
        (file(Image.fromarray(gradient(300, 300)), "PNG")[:900], ["truncated or damaged PNG", "900 bytes"]),
        (file(Image.fromarray(gradient(300, 300)), "WEBP")[:300], ["truncated or damaged WEBP", "300 bytes"]),
    ],
)
def test_bad_pictures_name_value_limit_and_unit(data: bytes, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(data, Fit.CROP_256, LIMITS, "content")
    assert caught.value.field == "content"
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "JPEG"])
def test_a_picture_above_the_limit_is_refused_by_its_header_alone(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding what a header claims would take 40 GB for the largest PNG; it must not even begin."""
    data = file(Image.new("RGB", (300, 200)), form)
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda self: pytest.fail("memory was taken for pixels"))
    with pytest.raises(InvalidInput, match="Mpx; the limit is"):
        load(data, Fit.CROP_256, ImageLimits(max_decode_pixels=50_000), "content")


def test_limits_of_pixels_and_bytes() -> None:
    data = file(Image.new("RGB", (300, 200)))
    with pytest.raises(InvalidInput, match=r"300x200 px = 0.060000 Mpx; the limit is 0.050000 Mpx"):
        load(data, Fit.NATIVE, ImageLimits(max_pixels=50_000), "content")
    with pytest.raises(InvalidInput, match=r"brought to 384x256 px"):
        load(data, Fit.KEEP_256, ImageLimits(max_pixels=50_000), "content")
    with pytest.raises(InvalidInput, match=r"bytes; the limit is 100 bytes"):
        load(data, Fit.NATIVE, ImageLimits(max_encoded_bytes=100), "content")
    assert pixels(data, Fit.CROP_256, ImageLimits(max_pixels=70_000)).shape == (256, 256, 3)


def test_a_long_strip_cannot_grow_past_the_limit() -> None:
    strip = file(Image.new("RGB", (20_000, 16)))
    with pytest.raises(InvalidInput, match=r"brought to 320000x256 px by fit keep and size 256 .*fit crop uses"):
        load(strip, Fit.KEEP_256, LIMITS, "content")


@pytest.mark.parametrize(
    ("fit", "size", "side", "expected"),
    [
        (Fit.CROP_256, (600, 400), 320, (320, 320)),
        (Fit.SQUASH_256, (600, 400), 320, (320, 320)),
        (Fit.KEEP_256, (600, 400), 320, (480, 320)),
        # A picture is never enlarged to a size that was asked for.
        (Fit.CROP_256, (600, 400), 1024, (400, 400)),
        (Fit.KEEP_256, (600, 400), 1024, (600, 400)),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_size_is_kept_and_never_enlarges(
    fit: Fit, size: tuple[int, int], side: int, expected: tuple[int, int], form: str
) -> None:
    data = file(Image.fromarray(gradient(*size)), form)
    decoded = load(data, fit, LIMITS, "content", side).pixels
    assert decoded.shape == (expected[1], expected[0], 3)
    cost = size[0] * size[1] * (1 if form == "JPEG" else WHOLE_COST)
    assert sizes(data, fit, LIMITS, "content", side) == (cost, expected[0] * expected[1])


@pytest.mark.parametrize(
    ("fit", "side", "limit", "advice"),
    [
        (Fit.NATIVE, None, 100_000, r"use fit keep with a size of at most 258 px"),
        (Fit.KEEP_256, 380, 100_000, r"use a size of at most 258 px"),
        (Fit.CROP_256, 380, 100_000, r"use a size of at most 316 px"),
        (Fit.NATIVE, None, 5_000, r"fit crop uses only its center square"),
    ],
)
def test_the_error_above_the_limit_names_a_size_that_fits(fit: Fit, side: int | None, limit: int, advice: str) -> None:
    data = file(Image.fromarray(gradient(600, 400)))
    with pytest.raises(InvalidInput, match=advice):
        load(data, fit, ImageLimits(max_pixels=limit), "content", side)
    found = re.search(r"at most (\d+) px", advice)
    if found:
        kept = Fit.KEEP_256 if fit is Fit.NATIVE else fit
        load(data, kept, ImageLimits(max_pixels=limit), "content", int(found[1]))


@pytest.mark.parametrize(
    ("encoding", "form"),
    [(Encoding.PNG, "PNG"), (Encoding.JPEG, "JPEG"), (Encoding.WEBP, "WEBP"), (Encoding.AVIF, "AVIF")],
)
def test_encode(encoding: Encoding, form: str) -> None:
    picture = gradient(64, 48)
    with Image.open(io.BytesIO(encode(picture, encoding, 95))) as image:
        assert (image.format, image.size) == (form, (64, 48))
        if form == "PNG":
            np.testing.assert_array_equal(np.asarray(image), picture)
        else:
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - picture).mean() < 3


def test_quality_changes_the_size() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    for encoding in (Encoding.JPEG, Encoding.WEBP, Encoding.AVIF):
        assert len(encode(picture, encoding, 20)) < len(encode(picture, encoding, 95)) / 2


def test_raw_encoding_is_the_rows() -> None:
    picture = gradient(5, 4)
    assert encode(picture, Encoding.RAW_PIXELS) == picture.tobytes()
