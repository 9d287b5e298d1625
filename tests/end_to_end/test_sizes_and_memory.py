"""Native sizes up to the limit, and memory that stays flat over many sizes and styles.

The long form, `pytest -m soak`, has 2000 requests; the short form runs by default.
"""

import io
import random
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from stylewire import Client, InvalidImage
from stylewire_server.testing import running_server, until

FITS = ("crop", "squash", "keep", "native")


@pytest.fixture(scope="module")
def served(start_server: Callable) -> Iterator[tuple[psutil.Process, Client]]:
    """A server for these tests only."""
    server = start_server("--model", "lite")
    with Client(server.target, timeout=120) as client:
        yield psutil.Process(server.process.pid), client
    assert server.stop() == 0


@pytest.fixture(scope="module")
def scene(photo: Path) -> Image.Image:
    with Image.open(photo) as image:
        return image.convert("RGB")


@pytest.mark.parametrize(
    "size", [(16, 16), (17, 33), (100, 1000), (1000, 100), (255, 257), (641, 479), (2048, 2048), (8192, 512)]
)
def test_native_gives_the_contents_size(
    client: Client, scene: Image.Image, style_picture: Path, size: tuple[int, int]
) -> None:
    content = scene.resize(size)
    result = client.stylize(content, style_picture, fit="native")
    assert result.size == size
    assert np.asarray(result, float).std() > 10


def test_beyond_the_limit_the_error_names_the_size_that_fits(scene: Image.Image, style_picture: Path) -> None:
    flags = ("--model", "lite", "--max-pixels", "1000000")
    with running_server(*flags) as server, Client(server.target, timeout=60) as client:
        assert client.model().limits.max_pixels == 1_000_000
        content = scene.resize((1200, 900))
        with pytest.raises(
            InvalidImage,
            match=r"1200x900 px = 1.1 Mpx; the limit is 1.0 Mpx; use fit keep with a size of at most 865 px",
        ):
            client.stylize(content, style_picture, fit="native")
        assert client.stylize(content, style_picture, fit="keep", size=865).size == (1153, 865)


def test_pictures_share_the_memory_that_is_theirs_and_give_it_back(scene: Image.Image, style_picture: Path) -> None:
    """Three pictures of 350 MB at one time, on two streams, in 450 MB; a few seconds later there is nothing left."""
    if not Path("/proc/self/status").exists():
        pytest.skip("without /proc nobody knows what a process once took")
    flags = ("--model", "lite", "--precision", "f32", "--picture-memory", "450000000", "--streams", "2")
    with running_server(*flags) as server, Client(server.target, timeout=240) as client:
        process = psutil.Process(server.process.pid)
        peak = Path(f"/proc/{process.pid}/status")
        limits = client.model().limits
        assert limits.one_pass_pixels == 450_000_000 // 137
        client.stylize(scene, style_picture)
        before = process.memory_info().rss
        contents = [scene.resize((1600, 1600)).rotate(angle) for angle in (0, 90, 180)]
        with ThreadPoolExecutor(3) as threads:
            results = list(threads.map(lambda one: client.stylize(one, style_picture, fit="native"), contents))
        assert {result.size for result in results} == {(1600, 1600)}
        (most,) = re.findall(r"VmHWM:\s+(\d+) kB", peak.read_text())
        # Requests, answers and decoded pictures come on top: 8 MB each.
        assert int(most) * 1024 - before < 550_000_000
        until(lambda: process.memory_info().rss - before < 100_000_000, "the memory is given back")
        assert client.stylize(scene, style_picture).size == (256, 256)


def test_a_large_picture_is_one_pass(client: Client, scene: Image.Image, style_picture: Path) -> None:
    """Columns at the tile borders of 2, 4 and 8 parts differ from their neighbors no more than others do."""
    result = np.asarray(client.stylize(scene.resize((1536, 1536)), style_picture, fit="native"), float)
    for steps in (np.abs(np.diff(result, axis=1)).mean((0, 2)), np.abs(np.diff(result, axis=0)).mean((1, 2))):
        borders = steps[[1536 * part // 8 - 1 for part in range(1, 8)]]
        assert borders.max() < np.quantile(steps, 0.999) + 1


def _run(
    process: psutil.Process, client: Client, scene: Image.Image, folder: Path, warm: int, count: int, longest: int
) -> tuple[float, float, int]:
    """Resident MB after `warm` requests and after `count` more of mixed sizes, styles and options; sizes seen."""
    draw = random.Random(4)
    styles: list[Any] = [*sorted(folder.glob("*.jpg")), *(_png(scene.rotate(angle)) for angle in range(0, 360, 20))]
    sizes = set()

    def request() -> None:
        fit = draw.choice(FITS) if draw.random() < 0.2 else "native"
        # A narrow picture that is kept to 256 px would be far larger than the largest of the others.
        shortest = longest // 4 if fit == "keep" else 16
        size = draw.randint(shortest, longest), draw.randint(shortest, longest)
        sizes.add(size)
        style = {number: draw.random() + 0.1 for number in draw.sample(range(len(styles)), draw.randint(1, 3))}
        client.stylize(
            scene.resize(size),
            {styles[number]: weight for number, weight in style.items()},
            fit=fit,
            strength=draw.choice((None, 0.5)),
            preserve_color=draw.random() < 0.5,
            encoding=draw.choice(("jpeg", "png", "webp", "raw")),
        )

    # The largest first and on every stream, because each keeps what its largest picture took.
    largest = [(scene.resize((longest, longest)), "native"), (scene.resize((longest, longest // 4)), "keep")]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: client.stylize(one[0], styles[0], fit=one[1], strength=0.5), largest * 8))
    for _ in range(warm):
        request()
    before = process.memory_info().rss / 1e6
    for _ in range(count):
        request()
    return before, process.memory_info().rss / 1e6, len(sizes)


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


def test_sizes_do_not_pile_up(served: tuple[psutil.Process, Client], scene: Image.Image, style_picture: Path) -> None:
    """A new size adds less than 0.3 MB. By default OpenVINO keeps 1 MB for each size."""
    before, after, sizes = _run(*served, scene, style_picture.parent, warm=80, count=100, longest=256)
    assert sizes > 150
    assert after - before < 0.3 * 100, f"{before:.0f} MB, then {after:.0f} MB after 100 requests"


def test_large_pictures_beside_each_other_stay_within_their_memory(
    served: tuple[psutil.Process, Client], scene: Image.Image, style_picture: Path
) -> None:
    """Small files of as many pixels as a whole decode may have. All at once they would take more than 2 GB."""
    process, client = served
    client.stylize(scene, style_picture)
    before, peak = process.memory_info().rss, Path(f"/proc/{process.pid}/status")
    if not peak.exists():
        pytest.skip("without /proc nobody knows what a process once took")
    webp = io.BytesIO()
    Image.new("RGBA", (3500, 3500), (60, 120, 200, 130)).save(webp, "WEBP", lossless=True, quality=0, method=0)
    files = [_png(Image.new("RGBA", (5000, 5000), (200, 40, 10, 90))), webp.getvalue()]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda file: client.stylize(file, style_picture), files * 4))
    assert {result.size for result in results} == {(256, 256)}
    (most,) = re.findall(r"VmHWM:\s+(\d+) kB", peak.read_text())
    assert int(most) * 1024 - before < 1_200_000_000


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_2000_requests(
    served: tuple[psutil.Process, Client], scene: Image.Image, style_picture: Path
) -> None:
    before, after, sizes = _run(*served, scene, style_picture.parent, warm=2000, count=2000, longest=500)
    print(f"{before:.1f} MB after 2000 requests, {after:.1f} MB after 2000 more, {sizes} sizes")
    assert sizes > 2000
    assert after < before * 1.05, f"{before:.0f} MB, then {after:.0f} MB after 2000 requests"
