"""The store over a folder and over an fsspec file system: the same promises."""

import base64
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from stylewire_server.errors import InvalidInput, ServiceError, StoreFailed, StyleDamaged, StyleExists, StyleNotFound
from stylewire_server.styles.file import KeptStyle
from stylewire_server.styles.storage import BlobsError, BoundedBlobs, below, open_blobs
from stylewire_server.styles.store import SUFFIX, StyleStore, check_name
from stylewire_server.styles.vectors import Edition
from stylewire_server.testing import until


def style(name: str, value: float = 0.0) -> KeptStyle:
    return KeptStyle(
        name, np.full(100, value, np.float32), b"jpeg" * 500, "ab" * 32, Edition("lite", "cd"), datetime.now(UTC)
    )


@pytest.fixture(params=["folder", "file", "fsspec"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "folder": str(tmp_path / "styles"),
        "file": (tmp_path / "styles").as_uri(),
        "fsspec": f"memory://{uuid.uuid4().hex}/styles",
    }[request.param]


@pytest.fixture
def store(url: str) -> StyleStore:
    return StyleStore(open_blobs(url))


def test_a_style_is_kept_replaced_and_forgotten(store: StyleStore) -> None:
    assert store.names() == []
    store.put(style("wave", 1), overwrite=False)
    assert store.get("wave").vector[0] == 1
    with pytest.raises(StyleExists, match="'wave' exists"):
        store.put(style("wave", 2), overwrite=False)
    assert store.get("wave").vector[0] == 1
    store.put(style("wave", 3), overwrite=True)
    assert store.get("wave").vector[0] == 3
    store.delete("wave")
    for action in (store.get, store.delete):
        with pytest.raises(StyleNotFound, match="'wave'"):
            action("wave")


def test_built_in_styles_are_listed_and_stay_as_they_are(url: str) -> None:
    built_in = {f"gallery/{each}": replace(style(f"gallery/{each}"), built_in=True) for each in ("ink", "mosaic")}
    store = StyleStore(open_blobs(url), built_in)
    store.put(style("glass"), overwrite=False)
    store.put(style("wave"), overwrite=False)
    assert store.names() == ["gallery/ink", "gallery/mosaic", "glass", "wave"]
    first, token = store.page(3, "")
    assert [(found.name, found.built_in) for found in first][1:] == [("gallery/mosaic", True), ("glass", False)]
    assert [found.name for found in store.page(3, token)[0]] == ["wave"]
    assert store.get("gallery/ink") is built_in["gallery/ink"]
    with pytest.raises(StyleNotFound, match="'gallery/none'"):
        store.get("gallery/none")
    for change in (store.delete, lambda name: store.put(style(name), overwrite=True)):
        for name in ("gallery/ink", "gallery/none"):
            with pytest.raises(InvalidInput, match="names under gallery/ are for built-in styles"):
                change(name)


def test_another_store_over_the_same_folder_sees_every_change(store: StyleStore, url: str) -> None:
    other = StyleStore(open_blobs(url))
    store.put(style("wave", 1), overwrite=False)
    assert other.get("wave").vector[0] == 1
    store.put(style("wave", 2), overwrite=True)
    assert other.get("wave").vector[0] == 2
    store.delete("wave")
    with pytest.raises(StyleNotFound):
        other.get("wave")


def test_an_unchanged_style_is_read_once(store: StyleStore) -> None:
    store.put(style("wave"), overwrite=False)
    assert store.get("wave") is store.get("wave")


@pytest.mark.parametrize("name", ["", "-a", "A", "a b", "a/b", "../a", "a.style", "ä", "a" * 64, "a\n", "a\x00"])
def test_names_are_checked(store: StyleStore, name: str) -> None:
    for action in (store.get, store.delete, lambda name: store.put(style(name), overwrite=True)):
        with pytest.raises(InvalidInput, match="must be 1 to 63 of a-z") as caught:
            action(name)
        assert caught.value.field == "name"


def test_pages_are_in_order_and_stable_while_styles_come_and_go(store: StyleStore) -> None:
    names = [f"s{number:02}" for number in range(10)]
    for name in reversed(names):
        store.put(style(name), overwrite=False)
    first, token = store.page(4, "")
    assert [found.name for found in first] == names[:4]
    store.delete("s01")
    store.delete("s03")
    store.put(style("s00a"), overwrite=False)
    second, token = store.page(4, token)
    assert [found.name for found in second] == names[4:8]
    third, token = store.page(4, token)
    assert [found.name for found in third] == names[8:]
    assert token == ""


def test_a_last_full_page_has_no_token(store: StyleStore) -> None:
    for name in ("a", "b"):
        store.put(style(name), overwrite=False)
    assert store.page(2, "")[1] == ""
    assert [found.name for found in store.page(0, "")[0]] == ["a", "b"]


@pytest.mark.parametrize("token", ["x", "%%%", "ä", base64.urlsafe_b64encode(b"../etc").decode(), "a" * 5000])
def test_a_made_up_token_is_refused(store: StyleStore, token: str) -> None:
    with pytest.raises(InvalidInput, match="next_page_token") as caught:
        store.page(2, token)
    assert caught.value.field == "page_token"


def test_a_negative_page_size_is_refused(store: StyleStore) -> None:
    with pytest.raises(InvalidInput, match="page_size is -1"):
        store.page(-1, "")


def test_one_of_many_creators_wins(tmp_path: Path) -> None:
    stores = [StyleStore(open_blobs(str(tmp_path))) for _ in range(16)]
    barrier = threading.Barrier(16)

    def create(number: int) -> int | None:
        barrier.wait()
        try:
            stores[number].put(style("wave", number), overwrite=False)
        except StyleExists:
            return None
        return number

    with ThreadPoolExecutor(16) as threads:
        winners = [number for number in threads.map(create, range(16)) if number is not None]
    assert len(winners) == 1
    assert stores[0].get("wave").vector[0] == winners[0]


def test_a_reader_never_sees_half_a_style(tmp_path: Path) -> None:
    store = StyleStore(open_blobs(str(tmp_path)))
    store.put(style("wave", 0), overwrite=False)
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.put(style("wave", number), overwrite=True)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen = []
        while len(set(seen)) < 50:
            vector = StyleStore(open_blobs(str(tmp_path))).get("wave").vector
            assert (vector == vector[0]).all()
            seen.append(vector[0])
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["wave" + SUFFIX]


def test_a_damaged_style_is_told_left_out_and_replaceable(tmp_path: Path) -> None:
    store = StyleStore(open_blobs(str(tmp_path)))
    for name in ("a", "b", "c"):
        store.put(style(name), overwrite=False)
    path = tmp_path / ("b" + SUFFIX)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StyleDamaged, match="'b' is damaged; delete it"):
        store.get("b")
    assert [found.name for found in store.page(10, "")[0]] == ["a", "c"]
    store.put(style("b", 5), overwrite=True)
    assert store.get("b").vector[0] == 5
    path.write_bytes(b"")
    store.delete("b")
    assert store.names() == ["a", "c"]


def test_leftovers_of_a_killed_server_are_no_styles_and_go(tmp_path: Path) -> None:
    old, new = tmp_path / ".wave.style.1.tmp", tmp_path / ".wave.style.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert StyleStore(open_blobs(str(tmp_path))).names() == []
    assert (old.exists(), new.exists()) == (False, True)


def test_foreign_files_are_no_styles(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("hello")
    (tmp_path / ("No Style" + SUFFIX)).write_text("hello")
    assert StyleStore(open_blobs(str(tmp_path))).names() == []


def test_folders_and_links_to_nothing_are_no_styles(tmp_path: Path) -> None:
    store = StyleStore(open_blobs(str(tmp_path)))
    store.put(style("wave"), overwrite=False)
    (tmp_path / ("dir" + SUFFIX)).mkdir()
    (tmp_path / ("gone" + SUFFIX)).symlink_to("nowhere")
    assert store.names() == ["wave"]
    assert [found.name for found in store.page(10, "")[0]] == ["wave"]


def test_a_link_in_a_loop_is_no_style(tmp_path: Path) -> None:
    store = StyleStore(open_blobs(str(tmp_path)))
    store.put(style("wave"), overwrite=False)
    (tmp_path / ("loop" + SUFFIX)).symlink_to("loop" + SUFFIX)
    assert store.names() == ["wave"]
    assert [found.name for found in store.page(10, "")[0]] == ["wave"]


def test_a_style_that_is_a_link_is_one(tmp_path: Path) -> None:
    StyleStore(open_blobs(str(tmp_path / "elsewhere"))).put(style("wave", 2), overwrite=False)
    (tmp_path / ("wave" + SUFFIX)).symlink_to(tmp_path / "elsewhere" / ("wave" + SUFFIX))
    assert [found.vector[0] for found in StyleStore(open_blobs(str(tmp_path))).page(10, "")[0]] == [2]


@pytest.mark.parametrize(
    "fact", [{"create_time": "0001-01-01T00:00:00+23:00"}, {"model": "\ud800"}, {"weights_sha256": "\ud800"}]
)
def test_a_style_whose_facts_cannot_be_told_is_damaged_and_left_out(
    store: StyleStore, url: str, fact: dict[str, str], with_facts: Callable[..., bytes]
) -> None:
    for name in ("a", "b", "c"):
        store.put(style(name), overwrite=False)
    blobs = open_blobs(url)
    blobs.write("b" + SUFFIX, with_facts(blobs.read("b" + SUFFIX), **fact), overwrite=True)
    with pytest.raises(StyleDamaged, match="'b' is damaged"):
        store.get("b")
    assert [found.name for found in store.page(10, "")[0]] == ["a", "c"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    store = StyleStore(open_blobs(str(tmp_path)))
    for name in ("a", "b"):
        store.put(style(name), overwrite=False)
    (tmp_path / ("a" + SUFFIX)).chmod(0)
    assert [found.name for found in StyleStore(open_blobs(str(tmp_path))).page(10, "")[0]] == ["b"]


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("memory://", "memory:///styles"),
        ("memory://mine", "memory://mine/styles"),
        ("file:///", "file:///styles"),
        ("file:///srv/x/", "file:///srv/x/styles"),
        ("/srv/x/", "/srv/x/styles"),
        ("/", "/styles"),
        ("x", "x/styles"),
        ("s3://b/p/", "s3://b/p/styles"),
    ],
)
def test_a_folder_below_another(parent: str, expected: str) -> None:
    assert below(parent, "styles") == expected


def test_styles_are_kept_below_the_root_of_a_file_system() -> None:
    folder = uuid.uuid4().hex
    StyleStore(open_blobs(below("memory://", folder))).put(style("wave"), overwrite=False)
    assert StyleStore(open_blobs(f"memory:///{folder}")).names() == ["wave"]


@pytest.mark.parametrize("where", ["a-file", "a-file/below", "/proc/stylewire"])
def test_a_folder_that_cannot_be_is_told_without_its_path(tmp_path: Path, where: str) -> None:
    (tmp_path / "a-file").write_text("in the way")
    store = StyleStore(open_blobs(str(tmp_path / where)))
    with pytest.raises(StoreFailed, match="the server cannot keep styles: ") as caught:
        store.put(style("wave"), overwrite=False)
    assert "/" not in str(caught.value)


def test_a_storage_that_does_not_answer_is_told_without_its_words() -> None:
    class Broken:
        def names(self) -> list[str]:
            raise ConnectionResetError("https://secret.example/bucket")

        def tag(self, name: str) -> str:
            raise RuntimeError("/etc/secret")

    store = StyleStore(Broken())  # type: ignore[arg-type]
    for action in (lambda: store.page(1, ""), lambda: store.get("wave")):
        with pytest.raises(ServiceError, match="does not answer") as caught:
            action()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["nosuch://bucket/x", "abfs://bucket/x"])
def test_a_url_that_nothing_here_opens_is_told(url: str) -> None:
    with pytest.raises(BlobsError, match=url):
        open_blobs(url)


def test_a_storage_that_does_not_answer_is_told_in_time(tmp_path: Path) -> None:
    # On a busy machine, writing a file takes most of a second.
    store = StyleStore(BoundedBlobs(open_blobs(str(tmp_path)), 3.0))
    store.put(style("wave", 1), overwrite=False)
    assert store.get("wave").vector[0] == 1
    with pytest.raises(StyleNotFound):
        store.get("other")
    lost = tmp_path / ("lost" + SUFFIX)
    os.mkfifo(lost)
    with ThreadPoolExecutor(20) as threads:
        for call in [threads.submit(store.get, "lost") for _ in range(20)]:
            with pytest.raises(StoreFailed, match="its storage does not answer"):
                call.result()
    # As many as may wait do so; nothing more is asked of it.
    with pytest.raises(StoreFailed, match="its storage does not answer"):
        store.get("wave")
    # Who waits in `open` is let go by a writer, reads nothing, and gives its place back.
    os.close(os.open(lost, os.O_WRONLY))

    def has_a_place() -> bool:
        with suppress(StoreFailed):
            return store.get("wave").vector[0] == 1
        return False

    until(has_a_place, "a place has come back")


@pytest.mark.parametrize("name", ["con", "nul", "com1", "lpt9"])
def test_names_of_windows_devices_are_refused(store: StyleStore, name: str) -> None:
    with pytest.raises(InvalidInput, match="the name of a device on Windows"):
        check_name(name)
    check_name(f"{name}-art")


def test_a_temporary_file_goes_when_its_writer_was_killed_and_stays_while_it_writes(tmp_path: Path) -> None:
    code = (
        "import fcntl, sys, time\nfile = open(sys.argv[1], 'xb')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\ntime.sleep(60)"
    )
    path = tmp_path / ".wave.style.1.tmp"
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    minute_ago = time.time() - 60
    os.utime(path, (minute_ago, minute_ago))
    open_blobs(str(tmp_path))
    assert path.exists()
    writer.kill()
    writer.communicate()
    open_blobs(str(tmp_path))
    assert not path.exists()
