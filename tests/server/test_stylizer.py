"""The domain, with the real lite network and real pictures."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.errors import InvalidInput
from stylewire_server.imaging.codec import Encoding
from stylewire_server.imaging.fit import Fit
from stylewire_server.imaging.limits import ImageLimits
from stylewire_server.models.lite import lite
from stylewire_server.options import Options, WeightedStyle
from stylewire_server.styles.storage import open_blobs
from stylewire_server.styles.store import StyleStore
from stylewire_server.styles.vectors import Edition
from stylewire_server.stylizer import Stylized, Stylizer

RAW = Options(encoding=Encoding.RAW_PIXELS)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Stylizer]:
    """Return a function that makes a stylizer with an empty cache."""
    store = StyleStore(open_blobs(str(tmp_path_factory.mktemp("styles"))))
    engine = OpenVinoEngine(lite())
    return lambda: Stylizer(engine, ImageLimits(), 4, 1 << 20, Edition("lite", ""), store)


@pytest.fixture(scope="module")
def stylizer(fresh: Callable[[], Stylizer]) -> Stylizer:
    return fresh()


def pixels(result: Stylized) -> np.ndarray:
    return np.frombuffer(result.data, np.uint8).reshape(result.height, result.width, 3)


def reference(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((256, 256)), np.float64)


def edges(picture: np.ndarray) -> np.ndarray:
    """Gradient magnitude of the gray picture, smoothed over 8x8 px."""
    gray = picture.astype(np.float64).mean(-1)
    dy, dx = np.gradient(gray)
    return np.hypot(dx, dy)[:256, :256].reshape(32, 8, 32, 8).mean((1, 3))


def color_histogram(picture: np.ndarray) -> np.ndarray:
    """Shares of 4x4x4 cells of RGB."""
    cells, _ = np.histogramdd(picture.reshape(-1, 3), bins=(4, 4, 4), range=[(0, 256)] * 3)
    return cells / cells.sum()


def test_the_picture_keeps_the_contents_edges(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    """Correlation of smoothed gradient magnitudes with the content's: at least 0.5."""
    result = pixels(stylizer.stylize(photo.read_bytes(), [WeightedStyle(style_picture.read_bytes())], RAW))
    correlation = np.corrcoef(edges(result).ravel(), edges(reference(photo)).ravel())[0, 1]
    assert correlation >= 0.5, f"{correlation:.2f}"


def test_the_picture_takes_the_styles_colors(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    """Total variation distance of color histograms: the style is nearer than the content is to it, by 0.2."""
    result = pixels(stylizer.stylize(photo.read_bytes(), [WeightedStyle(style_picture.read_bytes())], RAW))
    style = color_histogram(reference(style_picture))
    before = np.abs(color_histogram(reference(photo)) - style).sum() / 2
    after = np.abs(color_histogram(result) - style).sum() / 2
    assert after <= before - 0.2, f"{before:.2f} before, {after:.2f} after"


def test_two_styles_give_clearly_different_pictures(
    stylizer: Stylizer, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    first, second = (
        pixels(stylizer.stylize(photo.read_bytes(), [WeightedStyle(path.read_bytes())], RAW)).astype(int)
        for path in (style_picture, other_style_picture)
    )
    assert np.abs(first - second).mean() > 20


def test_full_strength_is_no_strength(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    style = [WeightedStyle(style_picture.read_bytes())]
    plain = stylizer.stylize(photo.read_bytes(), style, RAW)
    full = stylizer.stylize(photo.read_bytes(), style, Options(strength=1.0, encoding=Encoding.RAW_PIXELS))
    assert plain.data == full.data


def test_less_strength_is_further_from_the_style(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    style = [WeightedStyle(style_picture.read_bytes())]
    full = pixels(stylizer.stylize(photo.read_bytes(), style, RAW)).astype(int)
    distances = []
    for strength in (0.0, 0.25, 0.5, 0.75):
        options = Options(strength=strength, encoding=Encoding.RAW_PIXELS)
        weaker = pixels(stylizer.stylize(photo.read_bytes(), style, options))
        distances.append(np.abs(weaker - full).mean())
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 10


def test_an_overwhelming_weight_is_that_style_alone(
    stylizer: Stylizer, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    first, second = style_picture.read_bytes(), other_style_picture.read_bytes()
    alone = pixels(stylizer.stylize(photo.read_bytes(), [WeightedStyle(first)], RAW)).astype(int)
    blend = [WeightedStyle(first, 1.0), WeightedStyle(second, 1e-9)]
    assert np.abs(pixels(stylizer.stylize(photo.read_bytes(), blend, RAW)) - alone).max() <= 1
    halves = [WeightedStyle(first), WeightedStyle(second)]
    assert np.abs(pixels(stylizer.stylize(photo.read_bytes(), halves, RAW)) - alone).mean() > 5


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("encoding", [None, *Encoding])
def test_all_fits_and_encodings(
    stylizer: Stylizer, photo: Path, style_picture: Path, fit: Fit, encoding: Encoding | None
) -> None:
    result = stylizer.stylize(
        photo.read_bytes(), [WeightedStyle(style_picture.read_bytes())], Options(fit=fit, encoding=encoding)
    )
    side = 512 if fit is Fit.NATIVE else 256
    assert (result.width, result.height) == (side, side)
    assert result.encoding is (encoding or Encoding.JPEG)
    heads = {Encoding.PNG: b"\x89PNG", Encoding.JPEG: b"\xff\xd8\xff", Encoding.WEBP: b"RIFF"}
    assert result.data.startswith(heads.get(result.encoding, b""))


@pytest.mark.parametrize(
    ("width", "encoding", "limit"), [(17_000, Encoding.WEBP, "16,383"), (66_000, Encoding.JPEG, "65,500")]
)
def test_a_side_that_an_encoding_cannot_hold_is_refused_before_the_work(
    stylizer: Stylizer, style_picture: Path, width: int, encoding: Encoding, limit: str
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (width, 16)).save(out, "PNG")

    def checkpoint() -> None:
        pytest.fail("the work was begun")

    with pytest.raises(
        InvalidInput, match=f"{width}x16 px; a side of a {encoding} file is at most {limit} px"
    ) as caught:
        stylizer.stylize(
            out.getvalue(),
            [WeightedStyle(style_picture.read_bytes())],
            Options(fit=Fit.NATIVE, encoding=encoding),
            checkpoint,
        )
    assert caught.value.field == "content"


def test_timings_tell_the_stages_apart(fresh: Callable[[], Stylizer], photo: Path, style_picture: Path) -> None:
    stylizer = fresh()
    style = [WeightedStyle(style_picture.read_bytes())]
    first = stylizer.stylize(photo.read_bytes(), style, Options()).timings
    second = stylizer.stylize(photo.read_bytes(), style, Options()).timings
    assert (first.style_cached, second.style_cached) == (False, True)
    assert first.predict_ms > 0
    assert second.predict_ms == 0
    assert min(second.decode_ms, second.transform_ms, second.encode_ms) > 0
    weaker = stylizer.stylize(photo.read_bytes(), style, Options(strength=0.5)).timings
    assert weaker.predict_ms > 0


def test_the_checkpoint_stops_the_work(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    class Gone(Exception):
        pass

    def checkpoint() -> None:
        raise Gone

    with pytest.raises(Gone):
        stylizer.stylize(photo.read_bytes(), [WeightedStyle(style_picture.read_bytes())], Options(), checkpoint)


def test_the_number_of_styles_is_limited(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    style = WeightedStyle(style_picture.read_bytes())
    with pytest.raises(InvalidInput, match="at least 1 style"):
        stylizer.stylize(photo.read_bytes(), [], Options())
    with pytest.raises(InvalidInput, match="has 5 styles; the limit is 4 styles"):
        stylizer.stylize(photo.read_bytes(), [style] * 5, Options())


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), float("inf")])
def test_strength_is_checked(strength: float) -> None:
    with pytest.raises(InvalidInput, match=r"strength is .* from 0 to 1") as caught:
        Options(strength=strength)
    assert caught.value.field == "options.strength"


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weight_is_checked(weight: float) -> None:
    with pytest.raises(InvalidInput, match="above 0") as caught:
        WeightedStyle(b"", weight, "styles[2]")
    assert caught.value.field == "styles[2].weight"


def halves(height: int, width: int) -> np.ndarray:
    """A mask that is white in its left half."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[:, : width // 2] = 255
    return mask


def test_masks_put_each_style_in_its_place(
    stylizer: Stylizer, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    options = Options(size=300, encoding=Encoding.RAW_PIXELS)
    content, first, second = photo.read_bytes(), style_picture.read_bytes(), other_style_picture.read_bytes()
    left = halves(40, 60)
    one = pixels(stylizer.stylize(content, [WeightedStyle(first)], options))
    other = pixels(stylizer.stylize(content, [WeightedStyle(second)], options))
    both = pixels(
        stylizer.stylize(content, [WeightedStyle(first, mask=left), WeightedStyle(second, mask=255 - left)], options)
    )
    np.testing.assert_array_equal(both[:, :120], one[:, :120])
    np.testing.assert_array_equal(both[:, -120:], other[:, -120:])
    # The edge of a mask is soft: no jump where the styles meet.
    middle = np.abs(np.diff(both[:, 140:160].astype(int), axis=1)).mean((0, 2))
    assert middle.max() < 3 * np.abs(np.diff(one.astype(int), axis=1)).mean()
    # Between them the picture is a mean of both.
    mean = (one[:, 148:152].astype(float) + other[:, 148:152]) / 2
    assert np.abs(both[:, 148:152] - mean).mean() < 12
    assert np.abs(one[:, 148:152] - mean).mean() > 20


def test_a_mask_follows_the_contents_crop(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    """The content shows where no mask is white. A mask covers the whole content, also if only a part of it is used."""
    content = np.zeros((100, 300, 3), np.uint8)
    content[..., 0] = 200
    mask = np.zeros((50, 150, 3), np.uint8)
    mask[:, :60] = 255
    style = [WeightedStyle(style_picture.read_bytes(), mask=mask)]
    result = pixels(stylizer.stylize(content, style, Options(size=100, encoding=Encoding.RAW_PIXELS)))
    # The center square is columns 100 to 200 of the content, and the mask is white up to 120.
    np.testing.assert_array_equal(result[:, 28:], content[:, 128:200])
    assert np.abs(result[:, :16].astype(int) - content[:, 100:116]).mean() > 10


def test_weights_count_where_masks_meet(
    stylizer: Stylizer, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    content, first, second = photo.read_bytes(), style_picture.read_bytes(), other_style_picture.read_bytes()
    white = np.full((16, 16, 3), 255, np.uint8)
    one, other = (
        pixels(stylizer.stylize(content, [WeightedStyle(each)], RAW)).astype(float) for each in (first, second)
    )
    found = pixels(stylizer.stylize(content, [WeightedStyle(first, 3.0, mask=white), WeightedStyle(second, 1.0)], RAW))
    np.testing.assert_allclose(found, 0.75 * one + 0.25 * other, atol=0.51)


def test_masks_count_as_passes_against_the_pixel_limit(fresh: Callable[[], Stylizer], style_picture: Path) -> None:
    stylizer = fresh()
    stylizer._limits = ImageLimits(max_pixels=90_000)
    content, mask = np.zeros((300, 300, 3), np.uint8), halves(16, 16)
    style = style_picture.read_bytes()
    native = Options(fit=Fit.NATIVE, encoding=Encoding.RAW_PIXELS)
    assert stylizer.stylize(content, [WeightedStyle(style)], native).width == 300
    with pytest.raises(
        InvalidInput, match=r"300x300 px = 0.09.* Mpx; the limit is 0.045.* Mpx for each of 2 passes, one for each mask"
    ):
        stylizer.stylize(content, [WeightedStyle(style, mask=mask), WeightedStyle(style)], native)


def test_a_broken_mask_is_named(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    style = WeightedStyle(style_picture.read_bytes(), 1.0, "styles[0]", b"not a picture")
    with pytest.raises(InvalidInput, match=r"styles\[0\]\.mask is not a ") as caught:
        stylizer.stylize(photo.read_bytes(), [style], RAW)
    assert caught.value.field == "styles[0].mask"
    with pytest.raises(InvalidInput, match="a named style has no mask"):
        stylizer.create_style("wave", [style], overwrite=False)


@pytest.mark.parametrize("fit", [Fit.CROP_256, Fit.SQUASH_256, Fit.KEEP_256])
def test_full_size_has_the_contents_size_and_contours(
    stylizer: Stylizer, photo: Path, style_picture: Path, fit: Fit
) -> None:
    with Image.open(photo.with_name("coffee.jpg")) as image:
        content = np.asarray(image.convert("RGB").resize((900, 600), Image.Resampling.LANCZOS))
    style = [WeightedStyle(style_picture.read_bytes())]
    small = stylizer.stylize(content, style, Options(fit=fit, size=200, encoding=Encoding.RAW_PIXELS))
    large = stylizer.stylize(content, style, Options(fit=fit, size=200, full_size=True, encoding=Encoding.RAW_PIXELS))
    shown = content[:, 150:750] if fit is Fit.CROP_256 else content
    assert (large.height, large.width) == shown.shape[:2]
    # The strokes are those of the small picture,
    again = Image.fromarray(pixels(large)).resize((small.width, small.height), Image.Resampling.BOX)
    error = np.mean(np.square(np.asarray(again, np.float64) - pixels(small)))
    assert 10 * np.log10(255**2 / error) > 18
    # and the contours those of the content: more of its edges than plain enlargement has.
    plain = np.asarray(Image.fromarray(pixels(small)).resize((large.width, large.height), Image.Resampling.BICUBIC))

    def likeness(picture: np.ndarray) -> float:
        one, other = (np.abs(np.diff(each.astype(float).mean(-1), axis=1)).ravel() for each in (picture, shown))
        return float(np.corrcoef(one, other)[0, 1])

    assert likeness(pixels(large)) > likeness(plain) + 0.05


def test_metadata_are_kept_on_request(stylizer: Stylizer, photo: Path, style_picture: Path) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    with Image.open(photo) as image:
        image.save(out, "JPEG", exif=exif)
    style = [WeightedStyle(style_picture.read_bytes())]
    for keep in (True, False):
        result = stylizer.stylize(out.getvalue(), style, Options(keep_metadata=keep))
        found = Image.open(io.BytesIO(result.data)).getexif()
        assert found.get(0x010F) == ("Maker" if keep else None)
        assert found.get(0x0112, 1) == 1


def giant(shade: int) -> bytes:
    """A WebP file of 40 bytes that is 12.5 Mpx."""
    out = io.BytesIO()
    Image.new("RGB", (3540, 3540), (shade, 40, 60)).save(out, "WEBP", lossless=True, method=0)
    return out.getvalue()


def test_a_call_that_is_not_wanted_any_more_stops_before_its_next_style(stylizer: Stylizer, photo: Path) -> None:
    blends = [[WeightedStyle(giant(shade)) for shade in range(first, first + 4)] for first in (0, 4)]
    begin = time.thread_time()
    stylizer.stylize(photo.read_bytes(), blends[0], RAW)
    whole = time.thread_time() - begin
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        # After the content, before the first and the second style.
        if calls == 3:
            raise TimeoutError

    begin = time.thread_time()
    with pytest.raises(TimeoutError):
        stylizer.stylize(photo.read_bytes(), blends[1], RAW, checkpoint)
    assert time.thread_time() - begin < 0.6 * whole


def test_the_pictures_of_a_call_share_a_budget(fresh: Callable[[], Stylizer], photo: Path) -> None:
    """The content counts too, and a style whose vector is kept does not."""
    stylizer = fresh()
    stylizer._limits = ImageLimits(max_decode_pixels=300_000)
    content = photo.read_bytes()

    def style(shade: int) -> WeightedStyle:
        out = io.BytesIO()
        Image.new("RGB", (400, 400), (shade, 40, 60)).save(out, "PNG")
        return WeightedStyle(out.getvalue(), field=f"styles[{shade}]")

    stylizer.stylize(content, [style(0)], RAW)
    stylizer.stylize(content, [style(0), style(1)], RAW)
    with pytest.raises(InvalidInput, match=r"up to styles\[3\], have 1.5 Mpx; the limit is 1.2 Mpx") as caught:
        stylizer.stylize(content, [style(2), style(3)], RAW)
    assert caught.value.field == "styles[3]"


def test_an_answer_too_large_for_a_message_is_refused_before_the_work(
    fresh: Callable[[], Stylizer], style_picture: Path
) -> None:
    stylizer = fresh()
    stylizer._limits = ImageLimits(max_result_bytes=100_000)
    style = [WeightedStyle(style_picture.read_bytes())]
    content = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)

    def checkpoint() -> None:
        pytest.fail("the work was begun")

    for encoding in (Encoding.RAW_PIXELS, Encoding.PNG):
        with pytest.raises(
            InvalidInput,
            match=rf"up to 120,000 bytes as {encoding}; the limit of a result is 100,000 bytes; ask for JPEG",
        ):
            stylizer.stylize(content, style, Options(fit=Fit.NATIVE, encoding=encoding), checkpoint)
    assert stylizer.stylize(content, style, Options(fit=Fit.NATIVE, encoding=Encoding.JPEG)).width == 200
    stylizer._limits = ImageLimits(max_result_bytes=5_000)
    with pytest.raises(InvalidInput, match=r"bytes; the limit of a result is 5,000 bytes; ask for JPEG with a lower"):
        stylizer.stylize(content, style, Options(fit=Fit.NATIVE, encoding=Encoding.JPEG))


def test_a_full_size_beyond_the_memory_for_results_is_refused(
    stylizer: Stylizer, photo: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stylizer, "_limits", ImageLimits(max_held_bytes=12 * 200_000))
    blend = [WeightedStyle(style_picture.read_bytes())]
    options = Options(fit=Fit.KEEP_256, size=200, full_size=True)
    with pytest.raises(InvalidInput, match=r"the result is 512x512 px = 0\.3 Mpx; the limit is 0\.2 Mpx") as caught:
        stylizer.stylize(photo.read_bytes(), blend, options)
    assert caught.value.field == "options.full_size"
    assert stylizer.stylize(photo.read_bytes(), blend, Options(fit=Fit.KEEP_256, size=200)).width == 200
