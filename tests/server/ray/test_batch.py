"""Batches on a real Ray cluster of two nodes on this machine."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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
from stylewire_server.options import Options  # noqa: E402
from stylewire_server.ray import BatchError, Stylize, run_batch  # noqa: E402

# A cluster takes a minute to start on a busy machine, and so does each set of actors.
pytestmark = pytest.mark.timeout(900)

LITE = {"model": "lite"}


def add_node(cluster: Any) -> Any:
    """Adds a node of one core. Ray gives up after 30 s, which a busy machine may need."""
    for attempt in range(4):
        try:
            return cluster.add_node(num_cpus=1, include_dashboard=False)
        except Exception as error:
            if attempt == 3 or "timed out" not in str(error).lower():
                raise
    raise AssertionError("unreachable")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
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
    cluster: Any, pictures: Callable[[int], Path], style_picture: Path, tmp_path: Path
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


def test_parquet_with_bytes_and_with_paths(cluster: Any, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    data = [photo.read_bytes(), None, b"junk", photo.read_bytes()]
    paths = ["a/one.jpg", str(photo), "a/junk.jpg", "../outside.jpg"]
    pq.write_table(pa.table({"path": paths, "bytes": pa.array(data, pa.binary())}), tmp_path / "in.parquet")
    out = tmp_path / "out"
    report = run_batch(str(tmp_path / "in.parquet"), str(out), [str(style_picture)], settings=LITE)
    assert (report.pictures, report.failed) == (2, 2)
    assert (out / "a" / "one.jpg").is_file()
    assert set(failures(out)) == {"a/junk.jpg", "../outside.jpg"}
    assert not (tmp_path / "outside.jpg").exists()


def test_in_a_pipeline_of_ones_own(cluster: Any, photo: Path, style_picture: Path) -> None:
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


@pytest.mark.parametrize("count", [400, pytest.param(2_000, marks=pytest.mark.soak)])
def test_a_lost_process_and_a_lost_node_lose_no_picture(
    cluster: Any, pictures: Callable[[int], Path], style_picture: Path, tmp_path: Path, count: int
) -> None:
    """Kills an actor with -9 after a tenth of the pictures, and a whole node after half of them."""
    folder, out = pictures(count), tmp_path / "out"
    extra = add_node(cluster)
    killed: list[int] = []

    def made(share: float) -> bool:
        return len(results(out)) >= share * count

    def sabotage() -> None:
        until(lambda: made(0.1), "a tenth is made", 600)
        victim = actors()[0]
        victim.kill()
        killed.append(victim.pid)
        until(lambda: made(0.5), "half is made", 600)
        # Not before the lost actor has work again, or one loss hides the other.
        until(lambda: len(actors()) >= 3, "three actors", 120)
        cluster.remove_node(extra, allow_graceful=False)
        killed.append(extra.node_id)

    saboteur = threading.Thread(target=sabotage)
    saboteur.start()
    report = run_batch(str(folder), str(out), [str(style_picture)], settings=LITE)
    saboteur.join(60)
    assert len(killed) == 2
    assert results(out) == results(folder)
    assert (report.pictures, report.skipped, report.failed) == (count, 0, 0)
    # Nothing is left of what the lost processes had begun.
    assert {path.name for path in out.iterdir()} == {"0", "1", "manifest.json", "failures.parquet"}


def test_a_picture_that_ends_its_process_each_time_becomes_a_failure(
    cluster: Any, photo: Path, style_picture: Path, tmp_path: Path
) -> None:
    """Kills each process that asks for one of the pictures."""
    kills: list[int] = []

    def kill_callers() -> None:
        with suppress(OSError):  # until the listener is closed
            while True:
                caller, (_, port) = listener.accept()
                with caller:
                    for actor in actors():
                        if any(each.laddr.port == port for each in actor.net_connections()):
                            actor.kill()
                            actor.wait(60)
                            kills.append(actor.pid)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        deadly = f"http://127.0.0.1:{listener.getsockname()[1]}/deadly.jpg"
        threading.Thread(target=kill_callers, daemon=True).start()
        table = pa.table({"path": [str(photo), deadly, "a/two.jpg"], "bytes": [None, None, photo.read_bytes()]})
        pq.write_table(table, tmp_path / "in.parquet")
        report = run_batch(str(tmp_path / "in.parquet"), str(tmp_path / "out"), [str(style_picture)], settings=LITE)
    assert (report.pictures, report.failed, len(kills)) == (2, 1, 3)
    assert failures(tmp_path / "out") == {deadly: "the process ended 3 times while it made this picture"}


@pytest.mark.parametrize(
    "own", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["on a cluster", "with a Ray of its own"]
)
def test_a_killed_job_is_resumed(
    cluster: Any, pictures: Callable[[int], Path], style_picture: Path, tmp_path: Path, own: bool
) -> None:
    folder, out = pictures(200), tmp_path / "out"
    command = [sys.executable, "-m", "stylewire_server", "batch", folder, out, "-s", style_picture, "--model", "lite"]
    command += [] if own else ["--address", cluster.address]
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, stderr=log, start_new_session=True)
        until(lambda: first.poll() is not None or len(results(out)) >= 40, "40 pictures", 600)
        begun = actors()
        first.kill()
        first.wait()
        # Ray ends the actors of a driver that is gone.
        until(lambda: not any(actor.is_running() for actor in begun), "the actors have ended", 120)
    kept = results(out)
    assert 40 <= len(kept) < 200, (tmp_path / "log").read_text()
    assert not json.loads((out / "manifest.json").read_text())["finished"]

    second = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert second.returncode == 0, second.stderr
    assert f"{200 - len(kept)} pictures" in second.stdout
    assert f"{len(kept)} were there already" in second.stdout
    assert results(out) == results(folder)
    assert json.loads((out / "manifest.json").read_text())["finished"]
    assert {path.name for path in out.iterdir()} == {"0", "1", "manifest.json", "failures.parquet"}


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_memory_does_not_grow_with_the_number_of_pictures(
    cluster: Any, style_picture: Path, tmp_path: Path, count: int, photo: Path
) -> None:
    """A picture of 256x256 px is 0.8 MB as floats, so actors that kept theirs would grow by hundreds of megabytes."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with Image.open(photo) as image:
        small = image.convert("RGB").resize((64, 64))
    for number in range(count):
        small.rotate(number % 360).save(folder / f"{number:05d}.jpg")
    command = [sys.executable, "-m", "stylewire_server", "batch", folder, out, "-s", style_picture, "--model", "lite"]
    log = tmp_path / "log"
    with log.open("w") as errors:
        driver = psutil.Popen([*command, "--address", cluster.address], stderr=errors)

    def memory() -> dict[int, float]:
        """Megabytes of the driver and of each actor."""
        return {process.pid: process.memory_info().rss / 1e6 for process in [driver, *actors()]}

    def made(share: float) -> bool:
        assert driver.poll() in {None, 0}, log.read_text()
        return sum(1 for _ in out.glob("*.jpg")) >= share * count

    until(lambda: made(0.3), "a third is made", 3000)
    before = memory()
    until(lambda: made(0.9), "nearly all are made", 3000)
    after = memory()
    assert driver.wait(300) == 0, log.read_text()
    assert len(before) == 3
    assert before.keys() == after.keys()
    growth = {pid: after[pid] - before[pid] for pid in before}
    print(f"MB after 30 % of {count}: {before}; growth until 90 %: {growth}")
    assert max(growth.values()) < 60, (before, growth)


def test_failures_are_listed_in_the_order_of_the_pictures(cluster: Any, style_picture: Path, tmp_path: Path) -> None:
    """The first block has slow pictures, and so it is done last."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number:03d}.jpg").write_bytes(b"junk")
    # A big picture takes longer than a hundred refusals.
    with Image.open(style_picture) as image:
        image.convert("RGB").resize((2000, 2000)).save(folder / "000.png")
    options = Options(size=1024)
    report = run_batch(str(folder), str(out), [str(style_picture)], options, keep_order=True, settings=LITE)
    assert (report.pictures, report.failed) == (1, 120)
    listed = [Path(path).name for path in pq.read_table(out / "failures.parquet")["path"].to_pylist()]
    assert listed == [f"{number:03d}.jpg" for number in range(120)]
    assert not ray.data.DataContext.get_current().execution_options.preserve_order


def actors() -> list[psutil.Process]:
    """The actors of batches that this process and its children run now; Ray writes the class into their command lines.

    Another run of these tests on the same machine has actors of its own.
    """
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any("_Actor" in part for part in process.cmdline()):
                found.append(process)
    return found


@pytest.fixture
def unreachable_s3(monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]) -> None:
    """A store that refuses connections."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    values = dict.fromkeys(names, "us-east-1") | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    for name, value in (values | {"AWS_MAX_ATTEMPTS": "1"}).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("{tmp}/absent", "{tmp}/out", "absent"),
        ("nowhere://bucket", "{tmp}/out", "nowhere"),
        ("{tmp}/note.txt", "nowhere://bucket", "nowhere"),
        ("s3://bucket/pictures", "{tmp}/out", "Could not connect"),
        ("{tmp}/note.txt", "s3://bucket/out", "Could not connect"),
        ("{tmp}/note.txt", "{tmp}/note.txt", "note.txt is a file; results need a folder"),
        ("{tmp}/note.txt", "/proc/out", "/proc/out"),
        ("{tmp}", "{tmp}", "is the folder of the pictures; results need another one"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(
    tmp_path: Path,
    style_picture: Path,
    capsys: pytest.CaptureFixture,
    unreachable_s3: None,
    source: str,
    target: str,
    message: str,
) -> None:
    (tmp_path / "note.txt").write_text("no picture")
    places = [place.format(tmp=tmp_path) for place in (source, target)]
    assert main(["batch", *places, "--style", str(style_picture), "--model", "lite"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stylewire-server: ")
    assert message in line


def test_a_style_that_is_not_there_is_one_line(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(BatchError, match="no style is called 'absent'"):
        run_batch(str(photo), str(tmp_path / "out"), ["absent"], settings=LITE)
    with pytest.raises(BatchError, match="the weight 'x' is not a number"):
        run_batch(str(photo), str(tmp_path / "out"), ["wave=x"], settings=LITE)


def test_results_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    from stylewire_server.ray.places import list_pictures

    for name in ("cat.jpg", "cat.png", "dog.gif", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert set(list_pictures(str(tmp_path), "memory://out", Encoding.JPEG)) == {"cat.jpg.jpg", "cat.png.jpg", "dog.jpg"}
    assert set(list_pictures(str(tmp_path), "memory://out", None)) == {"cat.jpg", "cat.png", "dog.gif.png"}
    assert set(list_pictures(f"{tmp_path}/*.jpg", "memory://out", None)) == {"cat.jpg"}
    assert np.unique(list(list_pictures(str(tmp_path), str(tmp_path / "out"), None).values())).size == 3
