"""The pinned hashes, and the comparison of files with them."""

import subprocess
from pathlib import Path

import pytest
from stylewire_server.preparation.published import FILES, differences, sha256


def test_the_published_files_at_hand_pass(shared: Path) -> None:
    wrong = differences(shared / "models" / "v1-256-graph")
    assert wrong == ["variables/variables.data-00000-of-00002 is missing"]


def test_every_file_of_the_model_is_pinned() -> None:
    assert len(FILES) == 4
    for name, pin in FILES.items():
        kind, _, digest = pin.partition(":")
        assert len(digest) == {"sha256": 64, "blob": 40}[kind], name


def test_a_file_that_differs_is_named_with_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "right").write_bytes(b"right")
    (tmp_path / "wrong").write_bytes(b"wrong")
    pin = sha256(tmp_path / "right")
    found = sha256(tmp_path / "wrong")
    lines = differences(tmp_path, {"right": f"sha256:{pin}", "wrong": f"sha256:{pin}", "absent": f"sha256:{pin}"})
    assert lines == [f"wrong has sha256 {found}, expected {pin}", "absent is missing"]


@pytest.mark.parametrize("content", [b"", b"weights\n" * 300_000], ids=["nothing", "2.4 MB"])
def test_blob_ids_are_those_of_git(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    blob = subprocess.run(["git", "hash-object", path], check=True, capture_output=True, text=True).stdout.strip()
    assert differences(tmp_path, {"data": f"blob:{blob}"}) == []
    path.write_bytes(content + b"x")
    (line,) = differences(tmp_path, {"data": f"blob:{blob}"})
    assert f"expected {blob}" in line
