"""A small comparison against a real server, from the command line to the page."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import optimizer_baseline
from optimizer_baseline import cli, images
from optimizer_baseline.comparison.compare import Plan
from optimizer_baseline.comparison.report import still_falling
from optimizer_baseline.errors import InvalidOption

ROOT = Path(optimizer_baseline.__file__).parents[1]
CONTENT = ROOT / "examples" / "content" / "coffee.jpg"
STYLES = [ROOT / "examples" / "style" / name for name in ("shards.jpg", "meadow.jpg")]


def run(folder, *styles, target, iterations=3):
    options = ["--size", "64", "--iterations", str(iterations), "--repeats", "2", "--weights", "offline", "--quiet"]
    where = ["--out", str(folder), "--server", target]
    return cli.main(["compare", "--content", str(CONTENT), "--style", *map(str, styles), *where, *options])


@pytest.fixture(scope="module")
def report(server, vgg16, tmp_path_factory):
    """Two pairs that work and one that cannot: its style is no picture."""
    folder = tmp_path_factory.mktemp("report")
    broken = folder / "broken.jpg"
    broken.write_bytes(b"not a picture")
    code = run(folder, STYLES[0], broken, STYLES[1], target=server.target)
    return folder, code, json.loads((folder / "results.json").read_text())


def test_a_pair_that_fails_does_not_lose_the_rest(report):
    folder, code, results = report
    assert code == 1
    assert [pair["name"] for pair in results["pairs"]] == ["coffee--shards", "coffee--meadow"]
    assert [(f["style"], "cannot" in f["error"] or "not a picture" in f["error"]) for f in results["failures"]] == [
        ("broken.jpg", True)
    ]
    assert "broken.jpg" in (folder / "index.html").read_text()


def test_both_pictures_are_scored_alike(report):
    folder, _, results = report
    for pair in results["pairs"]:
        pictures = [Image.open(folder / pair[side]["picture"]) for side in ("feedforward", "optimized")]
        assert {p.size for p in pictures} == {(pair["width"], pair["height"])} == {(64, 43)}
        assert np.abs(np.asarray(pictures[0], int) - np.asarray(pictures[1], int)).max() > 20
        for side in ("feedforward", "optimized", "unchanged_content"):
            for preset in ("magenta", "gatys2016"):
                costs = pair[side]["scores"][preset]
                parts = costs["content_cost"] + costs["style_cost"] + costs["total_variation"]
                assert costs["total_cost"] == pytest.approx(parts)
        content = pair["unchanged_content"]["scores"]["magenta"]
        assert content["content_cost"] == 0
        assert pair["optimized"]["scores"]["magenta"]["total_cost"] < content["total_cost"]
        assert -1 < pair["feedforward"]["ssim_to_content"] < 1
        # The score that anybody can take of the picture in the folder is the score in the file.
        again = optimizer_baseline.score(
            folder / pair["content_picture"], folder / pair["style_picture"], folder / pair["feedforward"]["picture"],
            preset="magenta", size=64, weights="offline",
        )  # fmt: skip
        assert again.costs.total_cost == pytest.approx(pair["feedforward"]["scores"]["magenta"]["total_cost"], rel=1e-4)


def test_the_curve_begins_at_the_content_and_falls(report):
    for pair in report[2]["pairs"]:
        curve = pair["curve"]
        assert len(curve) == 4
        assert curve[0]["evaluations"] == 1
        # The start is the content; what bfloat16 rounds differently is all that is left.
        assert curve[0]["content_cost"] < 1e-4 * curve[0]["total_cost"]
        totals = [point["total_cost"] for point in curve]
        assert totals == sorted(totals, reverse=True)
        assert pair["answer"]["final_cost"] == min(totals)


def test_the_page_warns_of_too_few_iterations(report):
    page = (report[0] / "index.html").read_text()
    assert "3 iterations are too few for 2 of 2 pairs" in page
    flat = [{"total_cost": 100.0 * 0.5**k + 10.0} for k in range(30)]
    assert not still_falling(flat)
    assert still_falling(flat[:4])


def test_every_key_is_documented(report):
    words = set(re.findall(r"`([a-z_0-9 ]+)`", (ROOT / "docs" / "reference" / "comparison-report.md").read_text()))

    def keys(value, inside=""):
        if isinstance(value, dict):
            # Keyed by the name of a preset or package, not by a word of the format.
            named = inside in {"scores", "versions"}
            for key, part in value.items():
                yield from () if named else (key,)
                yield from keys(part, key)
        elif isinstance(value, list):
            for part in value:
                yield from keys(part, inside)

    assert set(keys(report[2])) - words == set()


def test_a_finished_pair_is_not_done_again(report, server, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(report[0], folder)
    results = report[2]
    before = (folder / "pairs" / "coffee--shards.json").stat().st_mtime_ns
    (folder / "pairs" / "coffee--meadow-optimized.png").unlink()
    assert run(folder, *STYLES, target=server.target) == 0
    again = json.loads((folder / "results.json").read_text())
    assert (folder / "pairs" / "coffee--shards.json").stat().st_mtime_ns == before
    # The sources are named as seen from the report, which now lies elsewhere.
    kept, first = ({k: v for k, v in r["pairs"][0].items() if k not in ("content", "style")} for r in (again, results))
    assert kept == first
    assert again["pairs"][1]["optimized"]["seconds"] != results["pairs"][1]["optimized"]["seconds"]
    assert run(folder, STYLES[0], target=server.target, iterations=2) == 0
    assert len(json.loads((folder / "results.json").read_text())["pairs"][0]["curve"]) == 3


def test_the_page_in_a_browser(browser, report, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, requests = [], []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("data:") else requests.append(request.url))
    url = (report[0] / "index.html").as_uri()
    page.goto(url)
    first = "document.querySelector('.pair .slide')"
    page.evaluate(f"{first}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    box = page.evaluate(f"{first}.getBoundingClientRect().toJSON()")
    clip = f"getComputedStyle({first}.querySelector('i')).clipPath"
    before = page.evaluate(clip)
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, y)
    page.mouse.up()
    share = page.evaluate(f"Number({first}.querySelector('input').value)")
    assert share == pytest.approx(20, abs=5)
    assert page.evaluate(clip) != before
    # Both pictures have been decoded: a data URI that cannot be would leave a rectangle of one color.
    assert (
        page.evaluate(
            "Promise.all([...document.querySelectorAll('.slide')].map(s => { const image = new Image();"
            "image.src = getComputedStyle(s).backgroundImage.slice(5, -2); return image.decode().then(() => "
            "image.naturalWidth); }))"
        )
        == [64] * 4
    )
    page.screenshot(path=tmp_path / "desktop.png", full_page=True)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert page.evaluate("document.documentElement.scrollWidth") == 390, "the page scrolls sideways on a phone"
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    thumbs = "[...document.querySelectorAll('.cell div.by')].map(t => t.getBoundingClientRect().width)"
    assert page.evaluate(thumbs) == [40, 40], "styles are not shown beside their pictures on a phone"
    assert page.evaluate("getComputedStyle(document.querySelector('.hint')).display") == "block"
    page.evaluate("document.querySelector('.cell .by').textContent = 'The_Great_Wave_off_Kanagawa'.repeat(3)")
    fits = "[...document.querySelectorAll('.cell figcaption')].every(c => c.scrollWidth <= c.clientWidth)"
    assert page.evaluate(fits), "a long name runs over its neighbor"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert complaints == []
    assert requests == [url]
    page.close()
    assert Image.open(tmp_path / "desktop.png").width == 1280


def test_the_sheet_holds_every_pair(report):
    with Image.open(report[0] / "sheet.png") as sheet:
        assert sheet.width > 224 * 5
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000


def test_names_have_to_differ(tmp_path):
    with pytest.raises(InvalidOption, match="two content pictures are called 'coffee'"):
        Plan(contents=[CONTENT, tmp_path / "coffee.png"], styles=STYLES)


def test_pairs_have_to_differ(tmp_path):
    with pytest.raises(InvalidOption, match="two pairs are called 'a--b--c'"):
        Plan(contents=[tmp_path / "a.png", tmp_path / "a--b.png"], styles=[tmp_path / "c.jpg", tmp_path / "b--c.jpg"])


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(InvalidOption, match="no picture in"):
        images.files([tmp_path])


def test_a_server_that_cannot_start_says_why(tmp_path, capsys):
    options = ["--content", str(CONTENT), "--style", str(STYLES[0]), "--out", str(tmp_path), "--quiet"]
    assert cli.main(["compare", *options, "--model", str(tmp_path / "nothing")]) == 1
    error = capsys.readouterr().err
    assert "nothing did not become ready: stylewire_server: " in error
    assert "nothing holds no converted model" in error
