"""Tests that run with both `Client` and `AsyncClient`."""

import inspect
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stylewire import (
    AsyncClient,
    AsyncStyles,
    Client,
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    Styles,
    StylewireError,
    Stylized,
    Unavailable,
)


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Styles, AsyncStyles)])
def test_the_surfaces_are_the_same(one: type, other: type) -> None:
    def surface(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    ours, theirs = surface(one), surface(other)
    assert ours == theirs
    assert inspect.signature(one).parameters.keys() == inspect.signature(other).parameters.keys()


def test_every_kind_of_picture_goes(either_client: Any, photo: Path, style_picture: Path) -> None:
    with Image.open(photo) as image:
        picture = image.convert("RGB")
        results = [
            either_client.stylize(content, style_picture, encoding="raw")
            for content in (photo, str(photo), photo.read_bytes(), picture, np.asarray(picture))
        ]
    assert all(result.size == (256, 256) and result.mode == "RGB" for result in results)
    first = np.asarray(results[0], int)
    assert all(np.abs(np.asarray(result, int) - first).mean() < 3 for result in results)


def test_details_tell_model_and_times(either_client: Any, photo: Path, style_picture: Path) -> None:
    result = either_client.stylize_detailed(photo, style_picture)
    assert isinstance(result, Stylized)
    assert (result.width, result.height, result.model, result.raw) == (256, 256, "lite", False)
    assert result.data.startswith(b"\xff\xd8\xff")
    assert result.timings.transform_ms > 0
    assert either_client.model().edition == "lite"


def test_errors_are_of_one_tree(either_client: Any, photo: Path, style_picture: Path) -> None:
    with pytest.raises(InvalidImage) as caught:
        either_client.stylize(b"text", style_picture)
    assert caught.value.field == "content"
    with pytest.raises(InvalidImage) as caught:
        either_client.stylize(photo, b"text")
    assert caught.value.field == "styles[0]"
    with pytest.raises(InvalidRequest) as refused:
        either_client.stylize(photo, style_picture, strength=1.5)
    assert refused.value.field == "options.strength"
    with pytest.raises(InvalidRequest, match="fit is 'huge'; it must be one of crop"):
        either_client.stylize(photo, style_picture, fit="huge")
    with pytest.raises(FileNotFoundError):
        either_client.stylize("nosuch.jpg", style_picture)
    with pytest.raises(TypeError, match="strenght"):
        either_client.stylize(photo, style_picture, strenght=1.0)


def test_a_deadline_is_told(either_client: Any, photo: Path, style_picture: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        either_client.stylize(photo, style_picture, timeout=1e-6)
    with pytest.raises(DeadlineExceeded):
        list(either_client.stylize_stream([photo] * 500, style_picture, timeout=0.3))


def test_a_camera_s_pixels_go_as_its_file_does(either_client: Any, photo: Path, style_picture: Path) -> None:
    with Image.open(photo) as image:
        large = image.convert("RGB").resize((5800, 4000), Image.Resampling.BICUBIC)
    results = [either_client.stylize(large, style_picture), either_client.stylize(np.asarray(large), style_picture)]
    expected = np.asarray(either_client.stylize(large.resize((1450, 1000)), style_picture), int)
    for result in results:
        assert np.abs(np.asarray(result, int) - expected).mean() < 6
    assert either_client.stylize(photo, large).size == (256, 256)
    with pytest.raises(InvalidImage, match=r"content is 8000x8100 px = 64\.8 Mpx; the limit is 64\.0 Mpx"):
        either_client.stylize(Image.new("RGB", (8000, 8100)), style_picture)


def test_no_server_is_told(open_client: Callable[..., Any], photo: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with closing(open_client(target, timeout=60, wait_for_ready=False)) as client:
            for call in (
                client.model,
                lambda: client.stylize(photo, photo),
                client.styles.list,
                lambda: list(client.stylize_stream([photo], photo)),
            ):
                with pytest.raises(StylewireError) as caught:
                    call()
                assert isinstance(caught.value, Unavailable)
                assert target in str(caught.value)


def test_the_target_comes_from_the_environment(
    server: Any, open_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLEWIRE_TARGET", server.target)
    with closing(open_client(None)) as client:
        assert client.model().edition == "lite"
