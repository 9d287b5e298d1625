"""SavedModels from folders, archives, and a server that speaks as TF Hub does."""

import functools
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from stylewire_server.models.network import WeightsError
from stylewire_server.preparation.download import _url, parts, resolve, unpack

NAMES = ["saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files of a SavedModel, and one that does not belong to it."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_text(name)
    (folder / "README").write_text("not a part")
    return folder


def packed(path: Path, model: Path, prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(model, arcname=prefix or ".")
    return path


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in parts(folder)}


@pytest.mark.parametrize("prefix", ["", "2", "some/where/2"])
def test_archives_are_unpacked_wherever_the_model_is_in_them(model: Path, tmp_path: Path, prefix: str) -> None:
    target = tmp_path / "target"
    found = unpack(packed(tmp_path / "model.tar.gz", model, prefix), target)
    assert contents(found) == {name: name for name in NAMES}
    assert not (target / "README").exists()


def test_folders_are_taken_as_they_are_or_one_level_up(model: Path, tmp_path: Path) -> None:
    assert unpack(model, tmp_path / "unused") == model
    assert unpack(model.parent, tmp_path / "unused") == model
    assert not (tmp_path / "unused").exists()


def test_an_archive_cannot_write_outside_its_folder(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(model, arcname=".")
        for name in ("../../outside/saved_model.pb", f"{tmp_path}/absolute/variables/variables.index", "../escaped"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("x/saved_model.pb")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = {entry for entry in tmp_path.rglob("*") if entry != path}
    target = tmp_path / "a" / "b" / "target"
    unpack(path, target)
    new = {entry for entry in tmp_path.rglob("*") if entry != path} - before
    assert all(entry == target or target in entry.parents or entry in target.parents for entry in new)
    assert not any(entry.is_symlink() for entry in new)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be unpacked"), (b"PK\x03\x04 not a tar", "cannot be unpacked"), (None, "does not exist")],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.tar.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        unpack(path, tmp_path / "target")


def test_a_truncated_archive_is_refused(model: Path, tmp_path: Path) -> None:
    (model / NAMES[1]).write_bytes(os.urandom(200_000))
    path = packed(tmp_path / "model.tar.gz", model)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        unpack(path, tmp_path / "target")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no saved_model\.pb"):
        unpack(tmp_path, tmp_path / "target")


@pytest.mark.parametrize(
    ("handle", "url"),
    [
        ("https://tfhub.dev/a/b/2", "https://tfhub.dev/a/b/2"),
        (
            "google/magenta/arbitrary-image-stylization-v1-256/2",
            "https://tfhub.dev/google/magenta/arbitrary-image-stylization-v1-256/2",
        ),
        (
            "google/arbitrary-image-stylization-v1/tensorFlow1/256/2",
            "https://www.kaggle.com/models/google/arbitrary-image-stylization-v1/tensorFlow1/256/2",
        ),
    ],
)
def test_short_names_are_those_of_tf_hub_and_kaggle(handle: str, url: str) -> None:
    assert _url(handle) == url


@pytest.fixture
def hub(model: Path, tmp_path: Path) -> Iterator[str]:
    """URL of a model on a server on this machine that sends archives, as the hubs do."""
    pytest.importorskip("tensorflow_hub")
    packed(tmp_path / "2", model)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/2"
    server.shutdown()
    server.server_close()


def test_a_hub_is_downloaded_from(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    found = resolve(hub, tmp_path / "here", lambda stage, share: None)
    assert tmp_path / "here" in found.parents
    assert contents(found) == {name: name for name in NAMES}
    assert "TFHUB_CACHE_DIR" not in os.environ


def test_tfhub_cache_dir_is_respected(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "shared_cache"))
    found = resolve(hub, tmp_path / "unused", lambda stage, share: None)
    assert tmp_path / "shared_cache" in found.parents
    assert not (tmp_path / "unused").exists()
    (tmp_path / "2").unlink()
    assert resolve(hub, tmp_path / "unused", lambda stage, share: None) == found


@pytest.mark.parametrize("path", ["/absent", ""])
def test_what_cannot_be_downloaded_is_one_line_with_the_cure(hub: str, tmp_path: Path, path: str) -> None:
    # A page that is not there, and a page that is no archive.
    url = hub.removesuffix("/2") + (path or "/model/README")
    with pytest.raises(WeightsError, match=r"fetch --from FILE") as raised:
        resolve(url, tmp_path / "here", lambda stage, share: None)
    assert url in str(raised.value)
    assert "\n" not in str(raised.value)
