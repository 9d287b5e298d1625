"""The commands, against a real server."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stylewire import Client, WeightedStyle
from stylewire.__main__ import main
from stylewire.cli.shared import blend_of, style_files
from stylewire.cli.sheets import draw_grid

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(server: Any, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command line and returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main(["--target", server.target, "--timeout", "60", *map(str, arguments)])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def named(client: Client, style_picture: Path, other_style_picture: Path) -> Iterator[None]:
    """Keep two styles, `wave` and `shards`, and no other. Remove all afterwards."""

    def remove_all() -> None:
        for style in client.styles.list():
            client.styles.delete(style.name)

    # Other test files of this process may have left styles in the data folder.
    remove_all()
    client.styles.create("wave", style_picture)
    client.styles.create("shards", other_style_picture)
    yield
    remove_all()


@pytest.fixture
def photos(tmp_path: Path, photo: Path) -> Path:
    """A folder with a picture, a picture in a subfolder, and a file that is not a picture."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    with Image.open(photo) as image:
        image.resize((80, 60)).save(folder / "a.jpg")
        image.resize((60, 90)).save(folder / "b.png")
        image.resize((70, 70)).save(folder / "trip" / "a.jpg")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(folder.rglob("*.*")):
        with Image.open(path) as image:
            found[path.relative_to(folder).as_posix()] = image.size
    return found


def test_one_picture_into_a_file(run: Run, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.webp"
    code, said, _ = run("stylize", photo, style_picture, "-o", out, "--fit", "native")
    assert code == 0
    assert said == f"{out}: 512x512 px by lite\n"
    assert sizes(out.parent) == {"out.webp": (512, 512)}


def test_a_folder_into_a_folder(run: Run, photos: Path, named: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, complaints = run("stylize", photos, "wave", "-o", out, "--fit", "native")
    assert (code, complaints) == (0, "")
    assert said == f"{photos / 'notes.txt'}: skipped, not a picture\n3 stylized, 1 skipped, 0 failed\n"
    assert sizes(out) == {"a.jpg": (80, 60), "b.png": (60, 90), "trip/a.jpg": (70, 70)}


def test_failures_are_summed_up_and_the_rest_is_done(run: Run, photos: Path, named: None, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"text")
    out = tmp_path / "out"
    code, said, _ = run("stylize", photos, "wave", "-o", out, "--jobs", "2")
    assert code == 1
    broken, notes, summary = said.splitlines()
    assert broken.startswith(f"{photos / 'broken.jpg'}: failed, content is not a JPEG, PNG or WebP picture")
    assert notes == f"{photos / 'notes.txt'}: skipped, not a picture"
    assert summary == "3 stylized, 1 skipped, 1 failed"
    code, said, _ = run("stylize", photos, "wave", "-o", out, "--skip-existing")
    assert (code, said.splitlines()[-1]) == (1, "0 stylized, 4 skipped, 1 failed")
    assert f"{photos / 'a.jpg'}: skipped, its result exists" in said


def test_a_folder_of_all_formats(run: Run, photo: Path, named: None, tmp_path: Path) -> None:
    """A drawing of each format, a 16-bit and a CMYK TIFF, an animation, a broken file and a text."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with Image.open(photo) as image:
        picture = image.convert("RGB").resize((90, 60))
    for name, form in (
        ("photo.jpg", "JPEG"),
        ("photo.jfif", "JPEG"),
        ("photo.png", "PNG"),
        ("photo.webp", "WEBP"),
        ("photo.avif", "AVIF"),
        ("photo.gif", "GIF"),
        ("photo.tiff", "TIFF"),
        ("photo.bmp", "BMP"),
        ("no suffix", "PNG"),
    ):
        picture.save(folder / name, form)
    picture.convert("CMYK").save(folder / "cmyk.tif")
    deep = (np.linspace(0, 65535, 60 * 90).reshape(60, 90)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.tif")
    picture.save(folder / "two.mpo", "MPO", save_all=True, append_images=[picture])
    picture.save(folder / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    (folder / "broken.gif").write_bytes(b"GIF89a nothing more")
    (folder / "notes.txt").write_text("not a picture")
    code, said, complaints = run("stylize", folder, "wave", "-o", out, "--fit", "native")
    assert (code, complaints) == (1, "")
    *lines, summary = said.splitlines()
    assert summary == "13 stylized, 1 skipped, 1 failed"
    assert lines[0].startswith(f"{folder / 'broken.gif'}: failed, content cannot be read: ")
    assert lines[1:] == [f"{folder / 'notes.txt'}: skipped, not a picture"]
    names = "cmyk.png deep.png moving.png two.png photo.jpg photo.jfif photo.png photo.webp photo.avif photo.gif.png"
    assert sizes(out) == dict.fromkeys([*names.split(), "photo.tiff.png", "photo.bmp.png", "no suffix.png"], (90, 60))


def test_converted_pictures_look_as_their_originals(client: Client, photo: Path, style_picture: Path) -> None:
    with Image.open(photo) as image:
        picture = image.convert("RGB").resize((256, 256))
    wanted = np.asarray(client.stylize(picture, style_picture, encoding="png"), int)
    for form in ("BMP", "TIFF", "AVIF"):
        file = io.BytesIO()
        picture.save(file, form)
        got = np.asarray(client.stylize(file.getvalue(), style_picture, encoding="png"), int)
        assert np.abs(got - wanted).mean() < (10 if form == "AVIF" else 0.01)


@pytest.mark.parametrize("form", ["HEIF", "JXL"])
def test_formats_of_the_extras(client: Client, photo: Path, style_picture: Path, form: str) -> None:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    else:
        pytest.importorskip("pillow_jxl")
    file = io.BytesIO()
    with Image.open(photo) as image:
        image.convert("RGB").resize((90, 60)).save(file, form)
    assert client.stylize(file.getvalue(), style_picture, fit="native").size == (90, 60)


@pytest.mark.parametrize(
    ("start", "extra"), [(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"), (b"\xff\x0a\xfa\x1f", "jxl")]
)
def test_a_missing_extra_is_named(start: bytes, extra: str) -> None:
    """The command runs in a process that cannot import the plug-ins."""
    code = (
        "import sys; sys.modules['pillow_heif'] = sys.modules['pillow_jxl'] = None\n"
        f"from stylewire import Client\nClient().stylize({start!r}, 'wave')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert f"content is a picture that needs: pip install 'stylewire[{extra}]'" in done.stderr


def test_standard_input_and_output(server: Any, photo: Path, style_picture: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stylewire", "--target", server.target, "stylize", "-", str(style_picture)]
    done = subprocess.run([*command, "-o", "-"], input=photo.read_bytes(), capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"-: 256x256 px by lite\n")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == ("JPEG", (256, 256))
    done = subprocess.run(
        [*command, "-o", "-", "--format", "png"], input=photo.read_bytes(), capture_output=True, timeout=120
    )
    assert done.stdout.startswith(b"\x89PNG")


def test_json_is_for_scripts(run: Run, photos: Path, named: None, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"text")
    code, said, _ = run("stylize", photos, "wave", "-o", tmp_path / "out", "--json")
    value = json.loads(said)
    assert (code, value["done"], value["skipped"], value["failed"]) == (1, 3, 1, 1)
    by_name = {Path(picture["content"]).name: picture for picture in value["pictures"]}
    assert by_name["b.png"]["width"] == 256
    assert by_name["b.png"]["timings"]["transform_ms"] > 0
    assert by_name["notes.txt"]["reason"] == "not a picture"
    assert by_name["broken.jpg"]["status"] == "failed"
    code, said, _ = run("stylize", photos / "broken.jpg", "wave", "-o", tmp_path / "x.png", "--json")
    assert (code, json.loads(said)["failed"]) == (1, 1)
    assert json.loads(run("model", "--json")[1])["edition"] == "lite"
    assert [style["name"] for style in json.loads(run("styles", "list", "--json")[1])] == ["shards", "wave"]


def test_skip_existing_leaves_what_is_there(run: Run, photos: Path, named: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.jpg").write_bytes(b"mine")
    code, said, _ = run("stylize", photos, "wave", "-o", out, "--skip-existing")
    assert (code, said.splitlines()[-1]) == (0, "2 stylized, 2 skipped, 0 failed")
    assert (out / "a.jpg").read_bytes() == b"mine"


def test_results_inside_the_folder_are_not_contents(run: Run, photos: Path, named: None) -> None:
    for _ in range(2):
        code, said, _ = run("stylize", photos, "wave", "-o", photos / "styled")
        assert (code, said.splitlines()[-1]) == (0, "3 stylized, 1 skipped, 0 failed")


def test_a_picture_to_read_is_never_written(run: Run, photos: Path, tmp_path: Path) -> None:
    content, style = photos / "a.jpg", photos / "b.png"
    linked = tmp_path / "linked.jpg"
    linked.symlink_to(content)
    before = content.read_bytes(), style.read_bytes()
    for command in (
        ["stylize", content, style, "-o", photos],
        ["stylize", content, style, "-o", content],
        ["stylize", content, style, "-o", style],
        ["stylize", content, style, "-o", linked],
        ["stylize", content, "-s", f"{style}=2", "-o", style],
        ["strip", content, style, "-o", style],
        ["sheet", content, style, "-o", content],
    ):
        code, _, complaints = run(*command)
        assert code == 2
        assert complaints.endswith(" is a file to read; write to another one\n")
    assert (content.read_bytes(), style.read_bytes()) == before


def test_styles_blend_by_weight(
    run: Run, client: Client, photo: Path, named: None, other_style_picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    code, _, _ = run("stylize", photo, "-s", "wave=3", "-s", f"{other_style_picture}=1", "-o", out)
    assert code == 0
    wanted = client.stylize(photo, {"wave": 3.0, other_style_picture: 1.0}, encoding="png")
    with Image.open(out) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(wanted))


def test_size_reaches_the_server(run: Run, photo: Path, named: None, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert run("stylize", photo, "wave", "-o", out, "--fit", "keep", "--size", "300")[0] == 0
    with Image.open(out) as image:
        assert min(image.size) == 300
    code, _, complaints = run("stylize", photo, "wave", "-o", out, "--size", "63")
    assert code == 1
    assert "size is 63 px; it must be a whole number from 64 to 4096 px" in complaints


def test_an_at_sign_parts_a_style_from_its_mask(tmp_path: Path) -> None:
    mask, photo = tmp_path / "mask.png", tmp_path / "photo@2x.jpg"
    mask.write_bytes(b"mask")
    photo.write_bytes(b"photo")
    assert blend_of(["wave", f"{photo}=2", "wave"]) == {"wave": 2.0, b"photo": 2.0}
    assert blend_of([f"wave@{mask}=3", f"{photo}"]) == [WeightedStyle("wave", 3.0, b"mask"), WeightedStyle(b"photo", 1)]
    assert style_files([f"wave@{mask}", f"{photo}@{mask}=2"]) == [mask, photo, mask]


def test_a_format_is_given_for_all(run: Run, photos: Path, named: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("stylize", photos / "a.jpg", photos / "b.png", "wave", "-o", out, "--format", "webp")[0] == 0
    assert set(sizes(out)) == {"a.webp", "b.webp"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos/a.jpg", "-o", "out.png"], "at least one content and one style"),
        (["photos/a.jpg", "wave", "-o", "out.gif"], "out.gif ends in '.gif'; it must be one of .png"),
        (["photos", "wave", "-o", "out.png"], "out.png is one file"),
        (["photos/a.jpg", "photos/trip/a.jpg", "wave", "-o", "out"], "would both become out"),
        (["photos", "wave", "-o", "out", "--jobs", "0"], "--jobs is 0; it must be at least 1"),
        (["photos", "wave", "-o", "-"], "- stands for one picture"),
        (["empty", "wave", "-o", "out"], "no files in empty"),
    ],
)
def test_wrong_usage_is_code_2(
    run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    code, _, complaints = run("stylize", *arguments)
    assert code == 2
    assert message in complaints
    assert not Path("out").exists()


def test_what_goes_wrong_is_one_line_and_code_1(run: Run, photos: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["stylize", photos / "a.jpg", "nosuch", "-o", tmp_path / "x.png"], "no style is called 'nosuch'"),
        (["stylize", photos, "nosuch", "-o", tmp_path / "x"], "no style is called 'nosuch'"),
        (["stylize", photos / "a.jpg", "no.jpg", "-o", tmp_path / "x.png"], "no.jpg: No such file or directory"),
        (["styles", "show", "nosuch"], "no style is called 'nosuch'"),
        (["styles", "add", "Bad Name", photos / "a.jpg"], "must be 1 to 63 of a-z"),
        (["--target", "127.0.0.1:1", "--timeout", "1", "model"], "127.0.0.1:1"),
        (["sheet", photos / "notes.txt", photos / "a.jpg", "-o", tmp_path / "x.png"], "cannot identify image file"),
        (["stylize", photos / "a.jpg", photos / "b.png", "-o", "/proc/x.png"], "/proc/x.png: No such file"),
    ):
        code, said, complaints = run(*arguments)
        assert (code, said) == (1, "")
        assert message in complaints
        assert complaints.startswith("stylewire: ")
        assert complaints.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls-key", "key.pem", "model"], "--tls-cert and --tls-key go together"),
        (["--timeout", "nan", "model"], "--timeout: nan s is not above 0 s"),
        (["sheet", "a.jpg", "wave", "-o", "x.png", "--cell", "0"], "--cell: 0 px is not from 16 to 2048 px"),
    ],
)
def test_wrong_flags_are_code_2(run: Run, flags: list[str], message: str) -> None:
    code, said, complaints = run(*flags)
    assert (code, said) == (2, "")
    assert message in complaints


def test_a_folder_that_cannot_be_read_is_told(run: Run, photos: Path, named: None, tmp_path: Path) -> None:
    (photos / "locked").mkdir(mode=0)
    if os.access(photos / "locked", os.R_OK):
        pytest.skip("whoever runs this may read every folder")
    code, _, complaints = run("stylize", photos, "wave", "-o", tmp_path / "out")
    assert code == 1
    assert "locked: Permission denied" in complaints


def test_styles_are_added_listed_shown_and_removed(
    run: Run, named: None, style_picture: Path, other_style_picture: Path, tmp_path: Path
) -> None:
    assert run("styles", "add", "mix", "wave=0.5", other_style_picture)[0] == 0
    code, said, _ = run("styles", "list")
    assert (code, [line.split()[:2] for line in said.splitlines()]) == (
        0,
        [["mix", "lite"], ["shards", "lite"], ["wave", "lite"]],
    )
    assert run("styles", "add", "mix", style_picture)[0] == 1
    assert run("styles", "add", "mix", style_picture, "--overwrite")[0] == 0
    assert run("styles", "show", "mix", "-o", tmp_path / "mix.jpg")[1].startswith("mix ")
    assert sizes(tmp_path) == {"mix.jpg": (128, 128)}
    assert run("styles", "remove", "mix", "wave")[:2] == (0, "mix removed\nwave removed\n")
    assert run("styles", "list")[1].split()[0] == "shards"


def test_a_sheet_shows_contents_by_styles(
    run: Run, client: Client, photos: Path, named: None, other_style_picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sheet.png"
    code, _, _ = run(
        "sheet",
        photos / "a.jpg",
        "wave",
        other_style_picture,
        "--content",
        photos / "b.png",
        "-o",
        out,
        "--cell",
        "100",
    )
    assert code == 0
    with Image.open(out) as sheet:
        # A column of contents and two of styles; a row of styles and two of contents, each under its label.
        assert sheet.size == (3 * 106 + 6, 3 * 106 + 3 * 22 + 6)
        cell = sheet.crop((6 + 106, 6 + 128 + 22, 106 + 106, 6 + 128 + 122))
    result = client.stylize(photos / "a.jpg", "wave", fit="keep", encoding="png")
    wanted = draw_grid([[("", result)]], 100).crop((6, 6, 106, 106))
    assert np.abs(np.asarray(cell, int) - np.asarray(wanted, int)).mean() < 1


def test_a_strip_goes_from_content_to_style(run: Run, photo: Path, named: None, tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    assert run("strip", photo, "wave", "-o", out, "--cell", "128")[0] == 0
    with Image.open(out) as strip:
        assert strip.size == (7 * 134 + 6, 128 + 22 + 12)
        cells = [np.asarray(strip.crop((6 + 134 * n, 28, 134 + 134 * n, 156)), float) for n in range(7)]
    distances = [np.abs(cell - cells[5]).mean() for cell in cells[1:6]]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 10
