"""Tuned styles through a real server: import, export, blends, strength, and what is refused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from stylewire import Client
from stylewire.cli.main import main
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.styles.file import KeptStyle, dump, parse

D, P = 100, 694
"""Numbers of a style vector, and of a tuning, in the lite edition."""


@pytest.fixture(scope="module")
def stub(server) -> Iterator[stylizer_pb2_grpc.StylizerStub]:
    with grpc.insecure_channel(server.target) as channel:
        yield stylizer_pb2_grpc.StylizerStub(channel)


@pytest.fixture
def plain(client: Client, stub, style_picture: Path) -> Iterator[KeptStyle]:
    """A style of the server's own predictor, kept as `plain`; all styles are removed afterwards."""
    client.styles.create("plain", style_picture, overwrite=True)
    yield parse("plain", stub.ExportStyle(pb.ExportStyleRequest(name="plain")).data)
    for style in client.styles.list():
        client.styles.delete(style.name)


def tuned(plain: KeptStyle, tuning: np.ndarray) -> bytes:
    vector = np.concatenate([plain.vector, tuning.astype(np.float32)])
    return dump(replace(plain, vector=vector, tuned=True, origin="waves.jpg, tuned"))


def take(stub, name: str, data: bytes, overwrite: bool = False) -> pb.Style:
    return stub.ImportStyle(pb.ImportStyleRequest(name=name, data=data, overwrite=overwrite))


def pixels(client: Client, photo: Path, style: object, **options: object) -> np.ndarray:
    return np.asarray(client.stylize(photo, style, encoding="raw", **options), np.float64)


def test_a_tuning_of_zeros_is_the_untuned_picture_bit_for_bit(client: Client, stub, plain, photo: Path) -> None:
    kept = take(stub, "zero", tuned(plain, np.zeros(P)))
    assert (kept.tuned, kept.built_in, kept.origin) == (True, False, "waves.jpg, tuned")
    np.testing.assert_array_equal(pixels(client, photo, "zero"), pixels(client, photo, "plain"))


def test_a_tuning_changes_the_picture_and_blends_by_its_share(client: Client, stub, plain, photo: Path) -> None:
    rng = np.random.default_rng(2)
    tuning = rng.normal(0, 0.2, P)
    take(stub, "moved", tuned(plain, tuning))
    take(stub, "half", tuned(plain, tuning / 2))
    moved, half = pixels(client, photo, "moved"), pixels(client, photo, "half")
    assert np.abs(moved - pixels(client, photo, "plain")).mean() > 5
    blended = pixels(client, photo, {"moved": 1, "plain": 1})
    assert np.abs(blended - half).mean() < 0.5
    assert np.abs(pixels(client, photo, "moved", strength=0.5) - moved).mean() > 3


def test_export_gives_back_what_was_imported(stub, plain) -> None:
    data = tuned(plain, np.linspace(-1, 1, P))
    take(stub, "moved", data)
    assert stub.ExportStyle(pb.ExportStyleRequest(name="moved")).data == data


def test_a_blend_with_a_tuned_style_is_tuned_when_kept(client: Client, stub, plain, photo: Path) -> None:
    take(stub, "moved", tuned(plain, np.random.default_rng(2).normal(0, 0.2, P)))
    client.styles.create("mix", {"moved": 1, "plain": 3})
    assert stub.GetStyle(pb.GetStyleRequest(name="mix")).tuned
    expected = pixels(client, photo, {"moved": 1, "plain": 3})
    np.testing.assert_allclose(pixels(client, photo, "mix"), expected, atol=1)


def test_a_taken_name_is_refused_and_overwritten_on_request(stub, plain) -> None:
    data = tuned(plain, np.zeros(P))
    with pytest.raises(grpc.RpcError, match="'plain' exists") as caught:
        take(stub, "plain", data)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert take(stub, "plain", data, overwrite=True).tuned


def test_the_command_line_imports_and_exports(
    server, stub, plain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tuned(plain, np.linspace(-1, 1, P))
    file, copy = tmp_path / "moved.style", tmp_path / "copy.style"
    file.write_bytes(data)
    target = ["--target", server.target]
    assert main([*target, "styles", "import", str(file)]) == 0
    assert "moved " in (line := capsys.readouterr().out)
    assert "tuned, waves.jpg, tuned" in line
    assert main([*target, "styles", "import", str(file)]) == 1
    assert "'moved' exists" in capsys.readouterr().err
    assert main([*target, "styles", "import", str(file), "--name", "other"]) == 0
    assert main([*target, "styles", "export", "other", "-o", str(copy)]) == 0
    assert copy.read_bytes() == data


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (lambda plain: b"no zip", "INVALID_ARGUMENT", "data is not a style file"),
        (lambda plain: b"", "INVALID_ARGUMENT", "data is not a style file"),
        (lambda plain: bytes(300_000), "INVALID_ARGUMENT", "data has 300,000 bytes; the limit .* 262,144 bytes"),
        (lambda plain: tuned(plain, np.zeros(P - 1)), "INVALID_ARGUMENT", "793 numbers; a tuned style .* has 794"),
        (
            lambda plain: dump(replace(plain, vector=np.zeros(D + P))),
            "INVALID_ARGUMENT",
            "794 numbers; a plain style .* has 100",
        ),
        (lambda plain: tuned(plain, np.full(P, np.nan)), "INVALID_ARGUMENT", "not finite"),
        (lambda plain: tuned(plain, np.full(P, 2e4)), "INVALID_ARGUMENT", "magnitude 2e\\+04; the limit is 10000"),
        ({"format": 3}, "INVALID_ARGUMENT", "its format is 3"),
        ({"model": "full"}, "FAILED_PRECONDITION", "was made by model full"),
        (
            lambda plain: dump(replace(plain, thumbnail=b"no picture")),
            "INVALID_ARGUMENT",
            "thumbnail that cannot be read",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    stub, plain, with_facts: Callable[..., bytes], spoil: Callable | dict, code: str, message: str
) -> None:
    data = with_facts(dump(plain), **spoil) if isinstance(spoil, dict) else spoil(plain)
    with pytest.raises(grpc.RpcError, match=message) as caught:
        take(stub, "spoiled", data)
    assert caught.value.code() is grpc.StatusCode[code]
    with pytest.raises(grpc.RpcError, match="no style is called 'spoiled'"):
        stub.ExportStyle(pb.ExportStyleRequest(name="spoiled"))


@pytest.mark.parametrize("name", ["gallery/mine", "../x", "A", ""])
def test_names_of_the_gallery_and_bad_names_are_refused(stub, plain, name: str) -> None:
    with pytest.raises(grpc.RpcError, match="name") as caught:
        take(stub, name, tuned(plain, np.zeros(P)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_folder_of_style_files_is_loaded_at_start(start_server: Callable, plain, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "styles"
    folder.mkdir()
    (folder / "Moved.style").write_bytes(tuned(plain, np.random.default_rng(2).normal(0, 0.2, P)))
    (folder / "broken.style").write_bytes(b"no zip")
    server = start_server("--model", "lite", "--data-dir", str(tmp_path / "data"), "--styles", str(folder))
    try:
        with Client(server.target) as client:
            assert [style.name for style in client.styles.list()] == ["moved"]
            assert client.stylize(photo, "moved").size == (256, 256)
        log = "\n".join(server.log)
        assert "broken.style makes no style: data is not a style file" in log
        assert "1 of 2 files" in log
    finally:
        assert server.stop() == 0
