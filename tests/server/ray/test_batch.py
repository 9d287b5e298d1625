"""Batches on a real Ray cluster of two nodes on this machine."""

import importlib.util
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from stylewire import Client
from stylewire_server.cli.main import main
from stylewire_server.testing import until

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'stylewire[ray]'")
pytest.importorskip("ray.data")

import pyarrow as pa  # noqa: E402 - ray brings it
import pyarrow.parquet as pq  # noqa: E402
from stylewire_server.imaging.codec import Encoding  # noqa: E402
from stylewire_server.ray import BatchError, Stylize, run_batch  # noqa: E402
from stylewire_server.stylizer import Options  # noqa: E402

# A cluster takes a minute to start on a busy machine, and so does each set of actors.
pytestmark = pytest.mark.timeout(900)

LITE = {"model": "lite"}


def add_node(cluster: object) -> object:
    """Adds a node of one core. Ray gives up after 30 s, which a busy machine may need."""
    for attempt in range(4):
        try:
            return cluster.add_node(num_cpus=1, include_dashboard=False)  # type: ignore[attr-defined]
        except Exception as error:
            if attempt == 3 or "timed out" not in str(error):
                raise
    raise AssertionError("unreachable")


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    running = Cluster(initialize_head=False)
    for _ in range(2):
        add_node(running)
    ray.init(address=running.address, log_to_driver=False, logging_level="warning")
    yield running
    ray.shutdown()
    running.shutdown()


@pytest.fixture
def pictures(tmp_path: Path, photo: Path) -> Callable[[int], Path]:
    """Return a function that makes a folder with small pictures, all different, in two subfolders."""

    def make(count: int) -> Path:
        folder = tmp_path / "in"
        with Image.open(photo) as image:
            small = image.convert("RGB").resize((80, 64))
        for number in range(count):
            path = folder / f"{number % 2}" / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small.rotate(number).save(path)
        return folder

    return make


def results(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}


def failures(folder: Path) -> dict[str, str]:
    table = pq.read_table(folder / "failures.parquet").to_pydict()
    return dict(zip(table["path"], table["error"], strict=True))


def test_pictures_are_those_of_the_server(client: Client, photo: Path, style_picture: Path) -> None:
    options = Options(encoding=Encoding.PNG)
    made = Stylize([str(style_picture)], options, settings=LITE).stylize(photo.read_bytes())
    assert made.data == client.stylize_detailed(photo, style_picture, encoding="png").data


def test_a_folder_and_what_is_missing_of_it(
    cluster: object, pictures: Callable[[int], Path], style_picture: Path, tmp_path: Path
) -> None:
    folder, out = pictures(40), tmp_path / "out"
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (folder / "note.txt").write_text("no picture")
    report = run_batch(str(folder), str(out), [f"{style_picture}=2"], settings=LITE)
    assert (report.pictures, report.skipped, report.failed) == (40, 0, 2)
    assert results(out) == results(folder) - {"broken.jpg"}
    wrong = failures(out)
    assert {Path(path).name for path in wrong} == {"broken.jpg", "note.txt"}
    assert all("content" in error or "picture" in error for error in wrong.values())
    with Image.open(out / "0" / "0002.jpg") as image:
        assert image.size == (256, 256)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["pictures"] == 40
    assert sum(node["pictures"] for node in manifest["nodes"].values()) == 40

    # Again: only what is missing. A result that is there is not touched.
    (out / "1" / "0003.jpg").unlink()
    (folder / "broken.jpg").unlink()
    (folder / "note.txt").unlink()
    kept = (out / "0" / "0002.jpg").stat().st_mtime_ns
    report = run_batch(str(folder), str(out), [str(style_picture)], settings=LITE)
    assert (report.pictures, report.skipped, report.failed) == (1, 39, 0)
    assert (out / "0" / "0002.jpg").stat().st_mtime_ns == kept
    assert failures(out) == {}


def test_parquet_with_bytes_and_with_paths(cluster: object, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    data = [photo.read_bytes(), None, b"junk", photo.read_bytes()]
    paths = ["a/one.jpg", str(photo), "a/junk.jpg", "../outside.jpg"]
    pq.write_table(pa.table({"path": paths, "bytes": pa.array(data, pa.binary())}), tmp_path / "in.parquet")
    out = tmp_path / "out"
    report = run_batch(str(tmp_path / "in.parquet"), str(out), [str(style_picture)], settings=LITE)
    assert (report.pictures, report.failed) == (2, 2)
    assert (out / "a" / "one.jpg").is_file()
    assert set(failures(out)) == {"a/junk.jpg", "../outside.jpg"}
    assert not (tmp_path / "outside.jpg").exists()


def test_in_a_pipeline_of_ones_own(cluster: object, photo: Path, style_picture: Path) -> None:
    rows = [{"id": 1, "bytes": photo.read_bytes()}, {"id": 2, "bytes": b"junk"}]
    found = (
        ray.data.from_items(rows)
        .map_batches(
            Stylize,
            fn_constructor_kwargs={"styles": [str(style_picture)], "settings": LITE},
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=1,
        )
        .take_all()
    )
    good, bad = sorted(found, key=lambda row: row["id"])
    assert good["stylized"][:2] == b"\xff\xd8"
    assert good["error"] is None
    assert bad["stylized"] is None
    assert bad["error"]


def test_a_lost_process_and_a_lost_node_lose_no_picture(
    cluster: object, pictures: Callable[[int], Path], style_picture: Path, tmp_path: Path
) -> None:
    """Kills one actor with -9 after a tenth of the pictures, and then a whole node."""
    folder, out = pictures(400), tmp_path / "out"
    extra = add_node(cluster)
    killed: list[int] = []

    def sabotage() -> None:
        until(lambda: len(results(out)) >= 40 if out.is_dir() else False, "a tenth is made", 600)
        victim = next(process for process in psutil.process_iter(["cmdline"]) if _is_actor(process))
        os.kill(victim.pid, signal.SIGKILL)
        killed.append(victim.pid)
        cluster.remove_node(extra, allow_graceful=False)  # type: ignore[attr-defined]

    saboteur = threading.Thread(target=sabotage)
    saboteur.start()
    report = run_batch(str(folder), str(out), [str(style_picture)], settings=LITE)
    saboteur.join(60)
    assert killed
    assert results(out) == results(folder)
    assert (report.pictures, report.skipped, report.failed) == (400, 0, 0)


def _is_actor(process: psutil.Process) -> bool:
    """Return True if a process is an actor of this batch. Ray writes the class into its command line."""
    return any("_Actor" in part for part in process.info["cmdline"] or [])


@pytest.mark.parametrize(
    ("source", "message"),
    [("absent", "absent"), ("s3://bucket/pictures", "s3fs"), ("nowhere://bucket", "nowhere")],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, style_picture: Path, capsys: pytest.CaptureFixture, source: str, message: str
) -> None:
    if source.startswith("s3:") and importlib.util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    given = source if "://" in source else str(tmp_path / source)
    assert main(["batch", given, str(tmp_path / "out"), "--style", str(style_picture), "--model", "lite"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stylewire-server: ")
    assert message in line


def test_a_style_that_is_not_there_is_one_line(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(BatchError, match="no style is called 'absent'"):
        run_batch(str(photo), str(tmp_path / "out"), ["absent"], settings=LITE)
    with pytest.raises(BatchError, match="the weight 'x' is not a number"):
        run_batch(str(photo), str(tmp_path / "out"), ["wave=x"], settings=LITE)


def test_results_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    from stylewire_server.ray.batch import _list

    for name in ("cat.jpg", "cat.png", "dog.gif", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert set(_list(str(tmp_path), "memory://out", Encoding.JPEG)) == {"cat.jpg.jpg", "cat.png.jpg", "dog.jpg"}
    assert set(_list(str(tmp_path), "memory://out", None)) == {"cat.jpg", "cat.png", "dog.gif.png"}
    assert set(_list(f"{tmp_path}/*.jpg", "memory://out", None)) == {"cat.jpg"}
    assert np.unique(list(_list(str(tmp_path), str(tmp_path / "out"), None).values())).size == 3
