"""Conversion of Python values to messages."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from stylewire import InvalidImage, InvalidRequest
from stylewire.messages import WeightedStyle, style_messages
from stylewire.options import options_message
from stylewire.pictures import image_message
from stylewire.v1 import stylizer_pb2 as pb


def test_arrays_and_rgb_images_travel_as_pixels() -> None:
    array = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    for value in (array, Image.fromarray(array)):
        message = image_message(value, "content")
        assert (message.pixels.height, message.pixels.width, message.pixels.rgb) == (4, 5, array.tobytes())


def test_files_travel_as_they_are(photo: Path) -> None:
    for value in (photo, str(photo), photo.read_bytes()):
        assert image_message(value, "content").encoded == photo.read_bytes()


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "CMYK", "1", "I;16", "PA", "La", "RGBa", "LAB"])
def test_other_modes_travel_as_files(mode: str) -> None:
    message = image_message(Image.new(mode, (20, 30)), "content")
    with Image.open(io.BytesIO(message.encoded)) as image:
        assert image.size == (20, 30)


def test_the_orientation_of_a_pil_image_is_applied() -> None:
    image = Image.new("RGB", (20, 30))
    image.getexif()[274] = 6
    message = image_message(image, "content")
    assert (message.pixels.width, message.pixels.height) == (30, 20)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32)],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InvalidImage, match=r"must be uint8 \[H, W, 3\]"):
        image_message(array, "content")


def test_other_types_are_refused() -> None:
    with pytest.raises(InvalidImage, match="content is a int"):
        image_message(7, "content")


def test_a_style_is_a_name_a_path_or_a_blend(style_picture: Path) -> None:
    assert style_messages("wave")[0].name == "wave"
    assert style_messages(str(style_picture))[0].image.encoded == style_picture.read_bytes()
    blend = style_messages({"wave": 0.7, style_picture: 2})
    assert [part.WhichOneof("source") for part in blend] == ["name", "image"]
    assert [part.weight for part in blend] == [pytest.approx(0.7), 2]
    parts = style_messages(["wave", "scream"])
    assert [part.name for part in parts] == ["wave", "scream"]
    assert not any(part.HasField("weight") for part in parts)


def test_a_style_may_have_a_mask(style_picture: Path) -> None:
    mask = np.full((4, 6, 3), 255, np.uint8)
    masked, plain = style_messages([WeightedStyle("wave", 2.0, mask), "scream"])
    assert (masked.name, masked.weight, masked.mask.pixels.width) == ("wave", 2.0, 6)
    assert not plain.HasField("mask")
    (alone,) = style_messages(WeightedStyle(style_picture))
    assert alone.image.encoded == style_picture.read_bytes()
    assert not alone.HasField("weight")
    with pytest.raises(InvalidImage, match=r"styles\[0\]\.mask is a int"):
        style_messages(WeightedStyle("wave", 1.0, 7))  # type: ignore[arg-type]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        style_messages("nowhere.jpg")


def test_options() -> None:
    message = options_message(
        {"strength": 0.25, "preserve_color": True, "fit": "native", "encoding": "png", "quality": 80}
    )
    assert (message.strength, message.preserve_color, message.quality) == (0.25, True, 80)
    assert (message.fit, message.encoding) == (pb.FIT_NATIVE, pb.ENCODING_PNG)
    message = options_message({"size": 768, "full_size": True, "keep_metadata": True})
    assert (message.size, message.full_size, message.keep_metadata) == (768, True, True)
    bare = options_message({"strength": None, "encoding": None})
    assert not bare.HasField("strength")
    assert bare.encoding == pb.ENCODING_UNSPECIFIED


@pytest.mark.parametrize(
    ("fit", "encoding", "quality", "words"),
    [
        ("stretch", None, None, "fit is 'stretch'; it must be one of crop, squash, keep, native"),
        ("crop", "gif", None, "encoding is 'gif'; it must be one of png"),
        ("crop", None, 0, "quality is 0; it must be a whole number from 1 to 100"),
    ],
)
def test_wrong_options_are_refused_before_any_call(fit: str, encoding: str, quality: int, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        options_message({"fit": fit, "encoding": encoding, "quality": quality})


@pytest.mark.parametrize("size", [0, 63, 4097, 100.5])
def test_a_wrong_size_is_refused_before_any_call(size: float) -> None:
    with pytest.raises(InvalidRequest, match=f"size is {size} px; it must be a whole number from 64 to 4096 px"):
        options_message({"size": size})


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_modes_of_a_known_range_travel_as_rgb(mode: str) -> None:
    assert image_message(Image.new(mode, (20, 30)), "content").pixels.width == 20


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_range_are_refused(mode: str) -> None:
    with pytest.raises(InvalidImage, match=f"content is a PIL image of mode {mode}; convert it to RGB"):
        image_message(Image.new(mode, (20, 30)), "content")


def test_a_pil_image_of_a_damaged_file_is_refused() -> None:
    out = io.BytesIO()
    Image.effect_noise((60, 60), 50).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[len(data) // 2] ^= 0x10
    with pytest.raises(InvalidImage, match="content is a PIL image that cannot be decoded: ") as caught:
        image_message(Image.open(io.BytesIO(bytes(data))), "content")
    assert caught.value.field == "content"


def test_many_pixels_travel_as_a_jpeg_with_their_profile() -> None:
    picture = Image.new("RGB", (2049, 2048))
    picture.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for value in (picture, np.asarray(picture)):
        with Image.open(io.BytesIO(image_message(value, "content").encoded)) as sent:
            assert (sent.format, sent.size) == ("JPEG", (2049, 2048))
            assert ("icc_profile" in sent.info) == (value is picture)
    with pytest.raises(InvalidImage, match="content of 70000x100 px cannot be sent: "):
        image_message(Image.new("RGB", (70000, 100)), "content")


def test_an_open_file_is_a_picture(style_picture: Path) -> None:
    with style_picture.open("rb") as file:
        assert style_messages(file)[0].image.encoded == style_picture.read_bytes()
    assert image_message(io.BytesIO(style_picture.read_bytes()), "content").encoded == style_picture.read_bytes()
    with pytest.raises(InvalidImage, match="content is a file open as text; open it with mode 'rb'"):
        image_message(io.StringIO("text"), "content")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"strength": "0.5"}, {"quality": "50"}, {"quality": 50.5}, {"size": "512"}])
def test_options_that_are_no_numbers_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidRequest, match="it must be a"):
        options_message(wrong)
