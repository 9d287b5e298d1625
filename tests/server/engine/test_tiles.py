"""Pictures in tiles: the same as in one pass, without seams, in less memory."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.engine.base import pad_to_multiple
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.engine.spans import spans
from stylewire_server.engine.tiles import CONTENT_HALO, TILE_BYTES
from stylewire_server.models.full import full
from stylewire_server.models.lite import PIXEL_BYTES, lite
from stylewire_server.models.network import Network
from stylewire_server.preparation.fetch import psnr

LITE = PIXEL_BYTES["f32"]


def engine(network: Network, picture_memory: int) -> OpenVinoEngine:
    return OpenVinoEngine(network, "f32", picture_memory=picture_memory)


def in_tiles(engine: OpenVinoEngine, tile: int) -> OpenVinoEngine:
    """The engine with tiles of that side, so that small pictures have many."""
    engine._tiled._tile = tile
    engine.one_pass_pixels = 16
    return engine


@pytest.fixture(scope="module")
def whole() -> OpenVinoEngine:
    return engine(lite(), 1_750_000_000)


@pytest.fixture(scope="module")
def tiled() -> OpenVinoEngine:
    return in_tiles(engine(lite(), 1_750_000_000), 128)


@pytest.fixture(scope="module")
def style(whole: OpenVinoEngine, style_picture: Path) -> np.ndarray:
    with Image.open(style_picture) as image:
        return whole.predict(np.asarray(image.convert("RGB").resize((256, 256)))[np.newaxis])


def scene(photo: Path, height: int, width: int) -> np.ndarray:
    with Image.open(photo) as image:
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))[np.newaxis]


def decibels(one: np.ndarray, other: np.ndarray, peak: float = 255.0) -> float:
    return psnr(one / peak, other / peak)


@pytest.mark.parametrize(
    ("length", "tile", "unit"), [(4096, 1024, 4), (1028, 1024, 4), (16, 1024, 4), (4001, 1000, 1), (2052, 684, 4)]
)
def test_spans_cover_the_axis(length: int, tile: int, unit: int) -> None:
    found = spans(length, tile, CONTENT_HALO, unit)
    assert [span.start for span in found] == [0, *(span.stop for span in found[:-1])]
    assert found[-1].stop == length
    for span in found:
        assert span.start % unit == 0
        assert 0 < span.stop - span.start <= tile + unit
        assert (span.first, span.last) == (max(0, span.start - CONTENT_HALO), min(length, span.stop + CONTENT_HALO))
        assert span.inner == (span.start - span.first, span.stop - span.first)


@pytest.mark.parametrize("size", [(512, 384), (501, 390), (130, 1022), (259, 257)])
def test_tiles_give_what_one_pass_gives(
    whole: OpenVinoEngine, tiled: OpenVinoEngine, style: np.ndarray, photo: Path, size: tuple[int, int]
) -> None:
    """The PSNR is at least 60 dB, and no level of 255 is off by more than one. Borders of tiles are no worse."""
    content = scene(photo, *size)
    expected, found = whole.transform(content, style), tiled.transform(content, style)
    assert found.shape == content.shape
    assert decibels(found, expected) >= 60
    difference = np.abs(found.astype(int) - expected)[0]
    assert difference.max() <= 1
    for axis, length in enumerate(size):
        borders = [4 * span.start for span in spans(-(-length // 4), 32, 0)[1:]]
        assert len(borders) >= 2 or length < 260
        near = np.unique([border + step for border in borders for step in range(-4, 4)])
        if len(near):
            assert difference.take(near, axis).mean() < 2 * difference.mean() + 0.002


def test_floats_in_tiles(whole: OpenVinoEngine, tiled: OpenVinoEngine, style: np.ndarray, photo: Path) -> None:
    content = scene(photo, 262, 300).astype(np.float32) / 255
    found = tiled.transform(content, style)
    assert found.dtype == np.float32
    assert decibels(found, whole.transform(content, style), 1.0) >= 60


def test_a_batch_in_tiles_is_its_pictures(tiled: OpenVinoEngine, style: np.ndarray, photo: Path) -> None:
    contents = np.concatenate([scene(photo, 140, 200), scene(photo.with_name("coffee.jpg"), 140, 200)])
    styles = np.concatenate([style, style * 0.5])
    together = tiled.transform(contents, styles)
    for index in range(2):
        alone = tiled.transform(contents[index : index + 1], styles[index : index + 1])
        np.testing.assert_array_equal(together[index : index + 1], alone)


def test_tiles_with_their_own_statistics_would_show(whole: OpenVinoEngine, style: np.ndarray, photo: Path) -> None:
    """The test above can fail: tiles with their own statistics are below 30 dB."""
    content = scene(photo, 512, 384)
    naive = np.concatenate([whole.transform(half, style) for half in np.split(content, 2, axis=1)], axis=1)
    assert decibels(naive, whole.transform(content, style)) < 30


def test_the_budget_says_what_goes_in_tiles(style: np.ndarray, photo: Path) -> None:
    """An engine by its budget alone: one pass up to its limit, tiles beyond, and both limits from the same bytes."""
    budget = 180_000_000
    small = engine(lite(), budget)
    assert small.one_pass_pixels == budget // LITE.one_pass
    assert small.max_pixels == small.one_pass_pixels
    large = engine(lite(), 1_750_000_000)
    assert large.max_pixels == (1_750_000_000 - TILE_BYTES) // LITE.tiled
    assert large.max_pixels > 2 * large.one_pass_pixels


def test_a_checkpoint_ends_the_work_between_tiles(tiled: OpenVinoEngine, style: np.ndarray, photo: Path) -> None:
    class Gone(Exception):
        pass

    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Gone

    content = scene(photo, 400, 400)
    with pytest.raises(Gone):
        tiled.transform(content, style, checkpoint)
    assert calls == 4
    # Nothing is left over from it.
    assert tiled.transform(content, style).shape == content.shape


@pytest.mark.parametrize("edition", ["lite", "full"])
@pytest.mark.timeout(600)
def test_tiles_are_close_to_double_precision(
    edition: str, request: pytest.FixtureRequest, photo: Path, style_picture: Path
) -> None:
    """At least 90 dB PSNR to the same layers in plain form in float64, as one pass; 8-bit levels hide nothing."""
    tf = pytest.importorskip("tensorflow")
    from optimizer_baseline.tuning.transformer import Transformer, read_weights

    network = lite() if edition == "lite" else full(request.getfixturevalue("converted"))
    transformer = Transformer({name: value.astype(np.float64) for name, value in read_weights(network).items()})
    content = scene(photo, 270, 199).astype(np.float32) / 255
    whole = engine(network, 1_750_000_000)
    vector = whole.predict(scene(style_picture, 256, 256))
    parameters = transformer.norm_parameters(vector[0].astype(np.float64)).astype(np.float64)
    contracted = transformer.contract(tf.constant(pad_to_multiple(content).astype(np.float64)))
    exact = transformer.paint(contracted, tf.constant(parameters)).numpy()[:, :270, :199]
    assert exact.dtype == np.float64
    assert exact.std() > 0.02
    assert decibels(whole.transform(content, vector), exact, 1.0) >= 90
    assert decibels(in_tiles(whole, 128).transform(content, vector), exact, 1.0) >= 90


@pytest.mark.timeout(600)
def test_the_full_edition_in_tiles(converted: Path, photo: Path) -> None:
    """The real graph with random weights: at least 60 dB PSNR."""
    network = full(converted)
    whole = engine(network, 1_750_000_000)
    tiled = in_tiles(engine(network, 1_750_000_000), 128)
    content = scene(photo, 202, 270)
    style = whole.predict(scene(photo.with_name("coffee.jpg"), 256, 256))
    expected = whole.transform(content, style)
    assert expected.std() > 5
    assert decibels(tiled.transform(content, style), expected) >= 60
