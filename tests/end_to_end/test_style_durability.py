"""Named styles after restarts, kill -9 and a full disk, with a second server, and with another edition."""

import itertools
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stylewire import Client, StylewireError
from stylewire_server.styles.file import dump, parse


@contextmanager
def serving(start_server: Callable, data: Path) -> Iterator[tuple[Any, Client]]:
    server = start_server("--model", "lite", "--data-dir", str(data))
    try:
        with Client(server.target, timeout=60) as client:
            yield server, client
    finally:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_server(start_server: Callable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """The data folder of a server that tests share, and the server."""
    data = tmp_path_factory.mktemp("data")
    server = start_server("--model", "lite", "--data-dir", str(data))
    yield data / "styles", server
    assert server.stop() == 0
    assert "Traceback" not in "\n".join(server.log)


@pytest.fixture
def kept(shared_server: tuple[Path, Any]) -> Iterator[tuple[Path, Any, Client]]:
    """The folder of the styles of a shared server, in which there are none, the server and a client."""
    folder, server = shared_server
    with Client(server.target, timeout=60) as client:
        yield folder, server, client
        for path in folder.iterdir():
            path.unlink()


def test_styles_survive_a_restart(start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path) -> None:
    with serving(start_server, tmp_path) as (server, client):
        before = client.styles.create("wave", style_picture)
        picture = client.stylize_detailed(photo, "wave").data
        assert server.stop() == 0
    with serving(start_server, tmp_path) as (_, client):
        assert client.styles.list() == [before]
        assert client.stylize_detailed(photo, "wave").data == picture


@pytest.mark.parametrize("after", [3, 40])
def test_every_acknowledged_style_survives_kill_9(
    start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path, after: int
) -> None:
    acknowledged: list[str] = []
    with serving(start_server, tmp_path) as (server, client):
        enough = threading.Event()

        def create(writer: int) -> None:
            # It does not wait for the server to come back.
            with Client(server.target, timeout=60, wait_for_ready=False) as client:
                for number in itertools.count():
                    name = f"s{writer}-{number}"
                    try:
                        client.styles.create(name, style_picture)
                    except StylewireError:
                        return
                    acknowledged.append(name)
                    if len(acknowledged) >= after:
                        enough.set()

        writers = [threading.Thread(target=create, args=(writer,)) for writer in range(3)]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        server.process.kill()
        for writer in writers:
            writer.join()
    assert len(acknowledged) >= after
    for path in (tmp_path / "styles").glob("*.style"):
        parse(path.stem, path.read_bytes())
    with serving(start_server, tmp_path) as (server, client):
        assert set(acknowledged) <= {style.name for style in client.styles.list()}
        assert client.stylize(photo, dict.fromkeys(acknowledged[:16], 1.0)).size == (256, 256)
        assert not any("damaged" in line for line in server.log)


def test_a_second_server_sees_changes_without_a_restart(
    start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path, other_style_picture: Path
) -> None:
    with serving(start_server, tmp_path) as (_, one), serving(start_server, tmp_path) as (_, two):
        one.styles.create("wave", style_picture)
        first = two.stylize_detailed(photo, "wave").data
        one.styles.create("wave", other_style_picture, overwrite=True)
        second = two.stylize_detailed(photo, "wave").data
        assert first != second
        assert second == one.stylize_detailed(photo, "wave").data
        two.styles.delete("wave")
        assert one.styles.list() == []
        with pytest.raises(StylewireError, match="'wave'"):
            one.stylize(photo, "wave")


def test_a_style_of_another_edition_is_refused_and_can_be_made_again(
    kept: tuple[Path, Any, Client], photo: Path, style_picture: Path
) -> None:
    folder, _, client = kept
    client.styles.create("wave", style_picture)
    path = folder / "wave.style"
    style = parse("wave", path.read_bytes())
    for foreign in (replace(style.edition, name="full"), replace(style.edition, weights_sha256="ab" * 32)):
        path.write_bytes(dump(replace(style, edition=foreign)))
        for call in (lambda: client.stylize(photo, "wave"), lambda: client.styles.create("mix", "wave")):
            with pytest.raises(StylewireError, match=r"FAILED_PRECONDITION.*was made by model") as caught:
                call()
            assert foreign.name in str(caught.value)
        assert client.styles.get("wave").model == foreign.name
    client.styles.create("wave", style_picture, overwrite=True)
    assert client.stylize(photo, "wave").size == (256, 256)


def test_a_damaged_style_is_told(kept: tuple[Path, Any, Client], photo: Path, style_picture: Path) -> None:
    folder, _, client = kept
    client.styles.create("wave", style_picture)
    path = folder / "wave.style"
    path.write_bytes(path.read_bytes()[:2000])
    for call in (lambda: client.stylize(photo, "wave"), lambda: client.styles.get("wave")):
        with pytest.raises(StylewireError, match="DATA_LOSS: style 'wave' is damaged"):
            call()
    assert client.styles.list() == []
    client.styles.delete("wave")


def test_a_file_that_is_whole_and_no_style_is_damaged_too(
    kept: tuple[Path, Any, Client], photo: Path, style_picture: Path
) -> None:
    """The files have the right network, but a vector of a wrong length, or a damaged or far too large thumbnail."""
    folder, _, client = kept
    client.styles.create("wave", style_picture)
    path = folder / "wave.style"
    whole = parse("wave", path.read_bytes())
    path.write_bytes(dump(replace(whole, vector=whole.vector[:5])))
    with pytest.raises(StylewireError, match="DATA_LOSS: style 'wave' is damaged"):
        client.stylize(photo, "wave")
    path.write_bytes(dump(replace(whole, thumbnail=b"none")))
    with pytest.raises(StylewireError, match="DATA_LOSS: style 'wave' is damaged"):
        client.styles.create("blend", {"wave": 1, style_picture: 1})
    path.write_bytes(dump(replace(whole, thumbnail=bytes(1_000_000))))
    with pytest.raises(StylewireError, match="DATA_LOSS: style 'wave' is damaged"):
        client.styles.get("wave")
    assert client.styles.list() == []


def test_a_storage_that_does_not_answer_holds_up_nobody(
    start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path
) -> None:
    """Reading a pipe that nobody writes to waits as a lost disk does."""
    with serving(start_server, tmp_path) as (server, client):
        (tmp_path / "styles").mkdir()
        os.mkfifo(tmp_path / "styles" / "lost.style")
        with ThreadPoolExecutor(6) as threads:
            calls = [threads.submit(client.styles.get, "lost") for _ in range(2)]
            calls += [threads.submit(client.stylize, photo, "lost") for _ in range(4)]
            for call in calls:
                with pytest.raises(StylewireError, match=r"FAILED_PRECONDITION: .* its storage does not answer"):
                    call.result(60)
        assert client.stylize(photo, style_picture).size == (256, 256)
        client.styles.create("wave", style_picture)
        assert client.stylize(photo, "wave").size == (256, 256)
        assert server.stop() == 0


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path
) -> None:
    with serving(start_server, tmp_path) as (server, client):
        before = client.styles.create("wave", style_picture)
        # No file may grow past 1 kB: what a write meets on a full disk, in this one process.
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1024, hard))
        for overwrite in (False, True):
            name = "wave" if overwrite else "other"
            with pytest.raises(StylewireError, match="FAILED_PRECONDITION: the server cannot keep styles") as caught:
                client.styles.create(name, style_picture, overwrite=overwrite)
            assert str(tmp_path) not in str(caught.value)
        assert client.styles.list() == [before]
        assert client.stylize(photo, "wave").size == (256, 256)
        assert [path.name for path in (tmp_path / "styles").iterdir()] == ["wave.style"]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        client.styles.create("other", style_picture)


def test_a_data_folder_that_cannot_be_made_is_told_and_pictures_go_on(
    start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    with serving(start_server, tmp_path / "taken") as (_, client):
        with pytest.raises(StylewireError, match=r"FAILED_PRECONDITION: the server cannot \w+ styles: ") as caught:
            client.styles.create("wave", style_picture)
        assert "taken" not in str(caught.value)
        assert client.stylize(photo, style_picture).size == (256, 256)


def test_a_store_url_that_nothing_opens_ends_the_start(start_server: Callable) -> None:
    with pytest.raises(RuntimeError, match="nosuch://"):
        start_server("--model", "lite", "--data-dir", "nosuch://bucket")


def test_a_store_behind_a_url(start_server: Callable, tmp_path: Path, photo: Path, style_picture: Path) -> None:
    """fsspec's memory file system stands for all: the only one that needs no network."""
    server = start_server("--model", "lite", "--data-dir", "memory://styles")
    try:
        with Client(server.target, timeout=60) as client:
            client.styles.create("wave", style_picture)
            assert [style.name for style in client.styles.list()] == ["wave"]
            assert client.stylize(photo, "wave").size == (256, 256)
            client.styles.delete("wave")
            assert client.styles.list() == []
    finally:
        assert server.stop() == 0
