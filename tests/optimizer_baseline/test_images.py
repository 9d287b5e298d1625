"""Pictures of every kind, good and bad."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging import codec
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits

from optimizer_baseline import InvalidImage, images


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_path_bytes_image_and_arrays_are_the_same_picture(tmp_path, content):
    path = tmp_path / "c.png"
    content.save(path)
    array = np.asarray(content)
    for form in (path, str(path), path.read_bytes(), content, array, array.astype(np.float32) / 255, array[None]):
        np.testing.assert_array_equal(np.asarray(images.load(form)), array)


def test_pixels_round_trip(content):
    pixels = images.to_pixels(content)
    assert pixels.shape == (1, 40, 48, 3)
    assert pixels.dtype == np.float32
    assert 0.0 <= pixels.min() <= pixels.max() <= 1.0
    np.testing.assert_array_equal(np.asarray(images.to_image(pixels)), np.asarray(content))


def test_exif_orientation_is_applied(content):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = images.load(encoded(content, "JPEG", exif=exif, quality=95))
    assert turned.size == (40, 48)
    expected = np.asarray(content.transpose(Image.Transpose.ROTATE_270), np.float32)
    assert np.abs(np.asarray(turned, np.float32) - expected).mean() < 8


def test_alpha_is_laid_on_white():
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    flat = np.asarray(images.load(encoded(image)))
    np.testing.assert_array_equal(flat[0, 0], [255, 0, 0])
    np.testing.assert_array_equal(flat[1, 1], [255, 255, 255])


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA"])
def test_other_modes_become_rgb(mode, content):
    assert images.load(content.convert(mode)).mode == "RGB"


def test_sixteen_bit_gray_keeps_its_range():
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    loaded = np.asarray(images.load(encoded(Image.fromarray(ramp))))
    assert loaded.min() == 0
    assert loaded.max() == 255
    assert 120 < loaded.mean() < 135


def test_deep_pictures_are_read_by_their_type_and_not_by_their_values():
    dark = np.full((8, 8), 250, np.uint16)
    assert np.asarray(images.load(encoded(Image.fromarray(dark)))).max() == 1
    floats = Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    assert np.asarray(images.load(floats)).max() == 255
    with pytest.raises(InvalidImage, match=r"style has values in 0..255; those of mode F are in 0..1"):
        images.load(Image.fromarray(np.linspace(0, 255, 64, dtype=np.float32).reshape(8, 8)), "style")


def test_color_profiles_are_applied():
    picture = Image.new("RGB", (8, 8), (200, 120, 40))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The curve of every channel of sRGB, as a straight line: the same values are brighter.
    linear = srgb.replace(b"para\0\0\0\0\0\3", b"para\0\0\0\0\0\0").replace(b"\0\2\x66\x66", b"\0\1\0\0")
    same, brighter, ignored = (
        np.asarray(images.load(encoded(picture, icc_profile=profile)), int)[0, 0] for profile in (srgb, linear, lab)
    )
    assert np.abs(same - (200, 120, 40)).max() <= 1
    assert (brighter > same + 15).all()
    np.testing.assert_array_equal(ignored, (200, 120, 40))


def test_bad_pictures_are_named(tmp_path):
    with pytest.raises(InvalidImage, match=r"content: no file .*gone.png"):
        images.load(tmp_path / "gone.png", "content")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InvalidImage, match=r"style: .*notes.txt is not a picture"):
        images.load(tmp_path / "notes.txt", "style")
    with pytest.raises(InvalidImage, match="the bytes given is not a picture"):
        images.load(b"")
    whole = encoded(Image.effect_noise((64, 64), 90))
    with pytest.raises(InvalidImage, match="content: the bytes given is a truncated or damaged PNG file of"):
        images.load(whole[: len(whole) // 2], "content")
    with pytest.raises(InvalidImage, match="content cannot be decoded"):
        images.load(Image.open(io.BytesIO(whole[: len(whole) // 2])), "content")
    with pytest.raises(InvalidImage, match="cannot read"):
        images.load(tmp_path)
    with pytest.raises(InvalidImage, match=r"shape \(3, 4\)"):
        images.load(np.zeros((3, 4), np.uint8))
    with pytest.raises(InvalidImage, match=r"0\.\.2"):
        images.load(np.full((3, 4, 3), 2.0) * np.array([0, 1, 1]))
    with pytest.raises(InvalidImage, match="finite"):
        images.load(np.full((3, 4, 3), np.nan))


def test_huge_pictures_are_refused_from_the_header():
    header_only = encoded(Image.new("1", (9000, 8000)))
    with pytest.raises(InvalidImage, match=r"9000x8000 px = 72\.0 Mpx; the limit is 64\.0 Mpx"):
        images.load(header_only)
    with pytest.raises(InvalidImage, match=r"3000x3000 px = 9\.0 Mpx is over the limit of 4\.0 Mpx"):
        images.fit(Image.new("RGB", (30, 30)), 3000)


def test_fit_keeps_the_shape(content):
    assert images.fit(content, 24).size == (24, 20)
    assert images.fit(content, None).size == (48, 40)
    assert images.crop_to_shape(Image.new("RGB", (600, 400)), 256, 256).size == (400, 400)


def test_colors_come_back():
    generator = np.random.default_rng(0)
    a, b = generator.uniform(0.3, 0.7, (2, 1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(images.with_color_of(a, a), a, atol=2e-3)
    mixed = images.with_color_of(a, b)
    inside = ((mixed > 0.0) & (mixed < 1.0)).all(-1)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(images.luminance(mixed)[inside], images.luminance(a)[inside], atol=2e-3)
    chroma = [(p @ images.RGB_TO_YIQ.T)[..., 1:][inside] for p in (mixed, b)]
    np.testing.assert_allclose(*chroma, atol=2e-3)


def test_refining_moves_the_coarse_picture_and_keeps_the_fine_detail():
    generator = np.random.default_rng(1)
    detail = generator.uniform(-0.1, 0.1, (1, 32, 32, 3)).astype(np.float32)
    start = np.float32(0.4) + detail
    darker = images.resize_pixels(start, 16, 16) - np.float32(0.15)
    np.testing.assert_allclose(images.refine(darker, start), start - 0.15, atol=1e-5)
    unchanged = images.resize_pixels(start, 16, 16)
    np.testing.assert_allclose(images.refine(unchanged, start), start, atol=1e-6)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF", "AVIF"])
def test_other_formats_of_local_files_are_read(kind, content, tmp_path):
    path = tmp_path / f"picture.{kind.lower()}"
    content.save(path, kind)
    assert np.abs(np.asarray(images.load(path), int) - np.asarray(content)).mean() < 12


def test_files_are_read_as_the_server_reads_them(shared):
    """Every case that the server refuses is refused here; the others are the same pixels."""
    folder = shared.parent / "cases" / "pictures"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases/pictures")
    seen = 0
    for path in sorted(folder.iterdir()):
        try:
            served = codec.load(path.read_bytes(), Fit.NATIVE, ImageLimits(), "content").pixels
        except InvalidInput:
            with pytest.raises(InvalidImage, match="truncated or damaged"):
                images.load(path)
        else:
            np.testing.assert_array_equal(np.asarray(images.load(path)), served)
            seen += 1
    assert seen >= 12


def test_a_transparent_level_of_sixteen_bit_gray_is_filled():
    levels = np.full((20, 20), 40_000, np.uint16)
    levels[:, 10:] = 0x1234
    loaded = np.asarray(images.load(encoded(Image.fromarray(levels), transparency=0x1234)))
    assert loaded[5, 5].tolist() == [156, 156, 156]
    assert loaded[5, 15].tolist() == [255, 255, 255]


def test_masks():
    gray = np.zeros((4, 8), np.uint8)
    gray[:, :4] = 255
    mask = images.load_mask(gray, 4, 2)
    np.testing.assert_array_equal(mask[0, :, :, 0], [[1, 1, 0, 0]] * 2)
    with pytest.raises(InvalidImage, match="black everywhere"):
        images.load_mask(np.zeros((4, 4), np.uint8), 4, 4)
    painted = Image.new("RGBA", (4, 2))
    painted.paste("white", (0, 0, 2, 2))
    np.testing.assert_array_equal(images.load_mask(painted, 4, 2)[0, :, :, 0], [[1, 1, 0, 0]] * 2)


@pytest.mark.parametrize("nothing", [None, 7, ["a.png"], bytearray(b"x")])
def test_what_is_no_picture_is_named(nothing):
    with pytest.raises(InvalidImage, match=f"content is {type(nothing).__name__}; expected a path, the bytes"):
        images.load(nothing, "content")


def test_a_mask_may_have_an_axis_of_one(content):
    mask = np.zeros((10, 12, 1), np.uint8)
    mask[:, :6] = 255
    np.testing.assert_array_equal(images.load_mask(mask, 12, 10), images.load_mask(mask[..., 0], 12, 10))
