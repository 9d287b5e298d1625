"""The gallery of built-in styles through a real server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from stylewire import Client, InvalidRequest, StyleNotFound
from stylewire_server.models.lite import lite
from stylewire_server.styles.gallery import load_gallery
from stylewire_server.styles.vectors import Edition


@pytest.fixture(scope="module")
def gallery_client(start_server: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    data = tmp_path_factory.mktemp("data")
    server = start_server(
        "--model", "lite", "--data-dir", str(data), env={**os.environ, "STYLEWIRE_NO_GALLERY": "false"}
    )
    with Client(server.target, timeout=60) as client:
        yield client
    assert server.stop() == 0


def pixels(client: Client, photo: Path, style: Any) -> np.ndarray:
    return np.asarray(client.stylize(photo, style, encoding="raw"), int)


def test_at_least_twelve_tuned_styles_are_there_without_setup(gallery_client: Client) -> None:
    styles = gallery_client.styles.list()
    assert len(styles) >= 12
    for style in styles:
        assert style.name.startswith("gallery/")
        assert style.tuned
        assert style.built_in
        assert style.origin
        assert style.thumbnail.size == (128, 128)


def cells(picture: np.ndarray) -> np.ndarray:
    """Return the brightness of 32 x 32 cells of a picture [256,256,3]."""
    return picture.mean(2).reshape(32, 8, 32, 8).mean((1, 3)).ravel()


def test_each_style_is_another_picture_that_shows_the_content(gallery_client: Client, photo: Path) -> None:
    with Image.open(photo) as image:
        content = cells(np.asarray(ImageOps.fit(image.convert("RGB"), (256, 256)), float))
    made = {style.name: pixels(gallery_client, photo, style.name) for style in gallery_client.styles.list()}
    for name, picture in made.items():
        # A photograph that is still there has its light and dark places where they were.
        assert np.corrcoef(content, cells(picture))[0, 1] > 0.5, name
        others = [np.abs(picture - other).mean() for rest, other in made.items() if rest != name]
        assert min(others) > 5, name


def test_they_blend_and_stay_as_they_are(gallery_client: Client, photo: Path, style_picture: Path) -> None:
    first, second = (style.name for style in gallery_client.styles.list()[:2])
    blended = pixels(gallery_client, photo, {first: 1, second: 1})
    assert np.abs(blended - pixels(gallery_client, photo, first)).mean() > 2
    gallery_client.styles.create("mine", {first: 1, style_picture: 1})
    assert gallery_client.styles.get("mine").tuned
    assert not gallery_client.styles.get("mine").built_in
    gallery_client.styles.delete("mine")
    for change in (
        lambda: gallery_client.styles.delete(first),
        lambda: gallery_client.styles.create(first, style_picture, overwrite=True),
        lambda: gallery_client.styles.create("gallery/mine", style_picture),
    ):
        with pytest.raises(InvalidRequest, match="names under gallery/ are for built-in styles"):
            change()
    with pytest.raises(StyleNotFound, match="'gallery/none'"):
        gallery_client.stylize(photo, "gallery/none")


def test_the_gallery_can_be_left_out(client: Client) -> None:
    assert not [style for style in client.styles.list() if style.built_in]


def test_another_network_has_no_gallery() -> None:
    network = lite()
    assert load_gallery(Edition(network.edition, network.sha256))
    assert not load_gallery(Edition("full", network.sha256))
    assert not load_gallery(Edition(network.edition, "0" * 64))


def test_styles_are_small_and_say_how_they_were_made() -> None:
    network = lite()
    for name, style in load_gallery(Edition(network.edition, network.sha256)).items():
        assert style.vector.size == 794, name
        assert len(style.thumbnail) < 12_000, name
        assert style.tuning is not None, name
        assert style.tuning["cost_after"] < style.tuning["cost_before"], name
        assert style.tuning["content_cost_after"] <= 1.16 * style.tuning["content_cost_before"], name
