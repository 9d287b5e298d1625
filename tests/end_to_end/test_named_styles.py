"""Named styles over a real server, with both clients."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image
from stylewire import Client, InvalidImage, InvalidRequest, StyleExists, StyleNotFound
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc


@pytest.fixture
def client(either_client: Any) -> Iterator[Any]:
    """Either client of the shared server, whose styles are removed afterwards."""
    yield either_client
    for style in either_client.styles.list():
        either_client.styles.delete(style.name)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference in levels of 255."""
    return float(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean())


def test_a_style_under_a_name_is_the_picture_it_was_made_from(client: Any, photo: Path, style_picture: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    created = client.styles.create("wave", style_picture)
    assert (created.name, created.model) == ("wave", "lite")
    assert before < created.create_time < datetime.now(UTC) + timedelta(seconds=5)
    assert client.styles.get("wave") == created
    named = client.stylize_detailed(photo, "wave", encoding="raw")
    assert named.timings.style_cached
    assert named.timings.predict_ms == 0
    assert named.data == client.stylize_detailed(photo, style_picture, encoding="raw").data


def test_the_thumbnail_shows_the_style(client: Any, style_picture: Path, other_style_picture: Path) -> None:
    client.styles.create("wave", style_picture)
    thumbnail = client.styles.get("wave").thumbnail
    assert thumbnail.size == (128, 128)

    def small(path: Path) -> Image.Image:
        with Image.open(path) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            return image.convert("RGB").crop((left, top, left + side, top + side)).resize((128, 128))

    assert distance(thumbnail, small(style_picture)) < 12
    assert distance(thumbnail, small(other_style_picture)) > 40


def test_names_and_pictures_blend_in_one_request(
    client: Any, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    client.styles.create("wave", style_picture)
    both = {"wave": 3.0, other_style_picture: 1.0}
    mixed = client.stylize_detailed(photo, both, encoding="raw")
    pictures = {style_picture: 0.75, other_style_picture: 0.25}
    assert mixed.data == client.stylize_detailed(photo, pictures, encoding="raw").data
    client.styles.create("mix", both)
    kept = client.stylize(photo, "mix", encoding="raw")
    assert distance(kept, mixed.image) < 0.5
    assert distance(kept, client.stylize(photo, "wave", encoding="raw")) > 5
    half = client.stylize(photo, "mix", strength=0.5, encoding="raw")
    assert distance(half, kept) > 3


def test_an_overwhelming_weight_is_that_style_alone(
    client: Any, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    client.styles.create("a", style_picture)
    client.styles.create("b", other_style_picture)
    alone = client.stylize(photo, "a", encoding="raw")
    assert distance(client.stylize(photo, {"a": 1.0, "b": 1e-9}, encoding="raw"), alone) < 0.5


def test_a_taken_name_is_refused_and_overwritten_on_request(
    client: Any, style_picture: Path, other_style_picture: Path
) -> None:
    first = client.styles.create("wave", style_picture)
    with pytest.raises(StyleExists, match="'wave' exists"):
        client.styles.create("wave", other_style_picture)
    assert client.styles.get("wave") == first
    second = client.styles.create("wave", other_style_picture, overwrite=True)
    assert client.styles.get("wave") == second
    assert second.thumbnail_data != first.thumbnail_data


def test_an_unknown_name_is_not_found_anywhere(client: Any, photo: Path) -> None:
    for call in (
        lambda: client.styles.get("nosuch"),
        lambda: client.styles.delete("nosuch"),
        lambda: client.stylize(photo, "nosuch"),
        lambda: client.styles.create("new", "nosuch"),
        lambda: list(client.stylize_stream([photo], "nosuch")),
    ):
        with pytest.raises(StyleNotFound, match="'nosuch'"):
            call()


@pytest.mark.parametrize("name", ["", "../wave", "Wave", "-a", "a" * 64, "a/b", "a.style"])
def test_a_name_that_cannot_be_is_refused(client: Any, style_picture: Path, name: str) -> None:
    for call in (
        lambda: client.styles.create(name, style_picture),
        lambda: client.styles.get(name),
        lambda: client.styles.delete(name),
    ):
        with pytest.raises(InvalidRequest, match="must be 1 to 63 of a-z") as caught:
            call()
        assert caught.value.field == "name"


def test_a_bad_picture_makes_no_style(client: Any) -> None:
    with pytest.raises(InvalidImage, match=r"styles\[0\] is not a JPEG, PNG or WebP"):
        client.styles.create("wave", b"text")
    assert client.styles.list() == []


def test_lists_go_over_all_pages_in_order(client: Any, style_picture: Path) -> None:
    names = [f"s{number}" for number in range(7)]
    for name in reversed(names):
        client.styles.create(name, style_picture)
    for size in (0, 1, 3, 7, 100, 2**31 - 1):
        assert [style.name for style in client.styles.list(page_size=size)] == names


@pytest.mark.parametrize(
    ("page", "field"), [({"page_size": -1}, "page_size"), ({"page_token": "made up"}, "page_token")]
)
def test_a_bad_page_is_refused(server: Any, page: dict, field: str) -> None:
    with grpc.insecure_channel(server.target) as channel:
        with pytest.raises(grpc.RpcError, match=field) as caught:
            stylizer_pb2_grpc.StylizerStub(channel).ListStyles(pb.ListStylesRequest(**page))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_folder_of_pictures_is_loaded_at_start(
    start_server: Callable, tmp_path: Path, style_picture: Path, other_style_picture: Path
) -> None:
    folder, data = tmp_path / "pictures", tmp_path / "data"
    folder.mkdir()
    (folder / "Great Wave (1831).JPG").write_bytes(style_picture.read_bytes())
    (folder / "great_wave_1831.jpg").write_bytes(other_style_picture.read_bytes())
    (folder / "shards.jpg").write_bytes(other_style_picture.read_bytes())
    (folder / "broken.png").write_bytes(b"text")
    (folder / "名.jpg").write_bytes(style_picture.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    flags = ("--model", "lite", "--data-dir", str(data), "--styles", str(folder))

    def loaded() -> tuple[list, str]:
        server = start_server(*flags)
        try:
            with Client(server.target) as client:
                return list(client.styles.list()), "\n".join(server.log)
        finally:
            assert server.stop() == 0

    first, log = loaded()
    assert [style.name for style in first] == ["great-wave-1831", "shards"]
    assert "great_wave_1831.jpg makes no style: Great Wave (1831).JPG is called 'great-wave-1831' already" in log
    assert "broken.png makes no style: broken.png is not a JPEG, PNG or WebP picture" in log
    assert "名.jpg makes no style" in log
    assert "2 of 5 files" in log
    (folder / "shards.jpg").write_bytes(style_picture.read_bytes())
    second, _ = loaded()
    assert second[0] == first[0]
    assert second[1].create_time > first[1].create_time


def test_a_styles_folder_that_is_not_there_ends_the_start(start_server: Callable, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cannot read the styles in .*No such file"):
        start_server("--model", "lite", "--styles", str(tmp_path / "nosuch"))
