"""Metadata of the content's file that a result keeps."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging.codec import Encoding, Metadata, check_encoding, encode, load
from stylewire_server.imaging.exif import orientation, upright
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.imaging.profiles import CODED_PRIMARIES, SRGB_CURVE, declared

LIMITS = ImageLimits()
DISPLAY_P3 = declared(CODED_PRIMARIES[12], SRGB_CURVE).data
FILES = [Encoding.PNG, Encoding.JPEG, Encoding.WEBP, Encoding.AVIF]


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "a camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 200
    return exif


def content(form: str = "JPEG", **options: object) -> bytes:
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 3 + 20, y * 3 + 40, 200 - x * 2], -1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, exif=camera_exif(), **options)
    return out.getvalue()


def smooth_result() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return np.stack([x + 90, y + 90, 160 - x], -1).astype(np.uint8)


@pytest.mark.parametrize("encoding", FILES)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_is_kept_without_its_orientation(form: str, encoding: Encoding) -> None:
    metadata = load(content(form), Fit.NATIVE, LIMITS, "content").metadata
    with Image.open(io.BytesIO(encode(smooth_result(), encoding, metadata=metadata))) as image:
        kept = image.getexif()
        assert image.size == (64, 48)
        assert kept.get(ExifTags.Base.Orientation, 1) == 1
        assert kept[ExifTags.Base.Make] == "a camera"
        assert kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 200


@pytest.mark.parametrize("encoding", FILES)
def test_a_profile_is_kept_and_the_colors_look_the_same(encoding: Encoding) -> None:
    """The pixels are converted to the profile: who reads it sees the sRGB result."""
    metadata = load(content(icc_profile=DISPLAY_P3), Fit.NATIVE, LIMITS, "content").metadata
    data, plain = (encode(smooth_result(), encoding, 98, kept) for kept in (metadata, None))
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == DISPLAY_P3
        stored = image.convert("RGB")
        shown = ImageCms.profileToProfile(
            stored, ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    with Image.open(io.BytesIO(plain)) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(np.asarray(stored).astype(int) - expected).max() > 5
    assert np.abs(np.asarray(shown).astype(int) - expected).max() <= (
        4 if encoding in {Encoding.PNG, Encoding.JPEG} else 6
    )


def test_a_profile_of_other_pixels_is_left_out() -> None:
    gray = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"RGB ", b"GRAY", 1)
    for profile in (gray, b"nonsense", DISPLAY_P3[:200]):
        with Image.open(io.BytesIO(encode(smooth_result(), Encoding.PNG, metadata=Metadata(profile)))) as image:
            assert "icc_profile" not in image.info


@pytest.mark.parametrize("encoding", FILES)
def test_nothing_is_kept_unless_asked(encoding: Encoding) -> None:
    with Image.open(io.BytesIO(encode(smooth_result(), encoding))) as image:
        assert not {"exif", "icc_profile"} & set(image.info)


def test_the_thumbnail_is_not_kept() -> None:
    """The thumbnail would show the content without the style."""
    first = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\x1a"
    second = b"\0\2\2\1\0\4\0\0\0\1\0\0\0\x40\2\2\0\4\0\0\0\1\0\0\0\4\0\0\0\0"
    data = b"Exif\0\0" + first + second
    before, after = Image.Exif(), Image.Exif()
    before.load(data)
    after.load(upright(data))
    assert before.get_ifd(ExifTags.IFD.IFD1)
    assert not after.get_ifd(ExifTags.IFD.IFD1)
    assert orientation(data) == 6
    assert orientation(upright(data)) == 1


@pytest.mark.parametrize(
    "data", [b"", b"Exif\0\0", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\1" * 40]
)
def test_damaged_exif_states_nothing(data: bytes) -> None:
    assert orientation(data) == 1
    assert len(upright(data)) == len(data)


def test_long_exif_is_left_out() -> None:
    kept = Metadata(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0" + bytes(70_000))
    for encoding in FILES:
        with Image.open(io.BytesIO(encode(smooth_result(), encoding, metadata=kept))) as image:
            assert "exif" not in image.info


def test_large_avif_results_are_refused_before_work() -> None:
    check_encoding((2048, 2048), Encoding.AVIF)
    with pytest.raises(InvalidInput, match=r"2049x2048 px = 4.196352 Mpx; the limit is 4.194304 Mpx for AVIF; ask"):
        check_encoding((2049, 2048), Encoding.AVIF)
