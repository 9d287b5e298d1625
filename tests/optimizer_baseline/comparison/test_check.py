"""The quality gate on the lite edition: it accepts today's pictures and rejects worse ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ImageFilter

import optimizer_baseline
from optimizer_baseline import cli
from optimizer_baseline.comparison.check import Baseline, check
from optimizer_baseline.errors import BaselineError, InvalidOption
from optimizer_baseline.feedforward import FeedForward

COMMITTED = Path(optimizer_baseline.__file__).parents[1] / "examples" / "quality.json"


@pytest.fixture
def one_pair():
    baseline = Baseline.read(COMMITTED)
    return replace(baseline, references=baseline.references[:1])


@pytest.fixture
def feedforward(server):
    with FeedForward(server.target) as connection:
        yield connection


def test_the_committed_baseline_holds(vgg16, server, start_server, capsys):
    """All pairs, this machine's best precision against float32: the gate itself."""
    exact = start_server("--model", "lite", "--precision", "f32")
    try:
        assert exact.target != server.target
        code = cli.main(
            ["check", "--baseline", str(COMMITTED), "--server", exact.target, "--parity-server", server.target]
        )
        out = capsys.readouterr().out
        assert code == 0, out
        assert out.count("ok  ") == 9
        assert out.count("parity in dB") == 3
    finally:
        exact.stop()


def test_a_blurred_picture_is_caught(vgg16, one_pair, feedforward):
    def blurred(content, style):
        return feedforward.picture(content, style).filter(ImageFilter.GaussianBlur(1.5))

    findings = check(one_pair, blurred, other=feedforward.picture)
    assert {f.what: f.good for f in findings} == {
        "magenta cost": False, "gatys2016 cost": False, "parity in dB": False
    }  # fmt: skip


def test_a_faint_style_is_caught(vgg16, one_pair, feedforward):
    """The content shows through, as with a wrong scale or a missing instance norm."""
    import PIL.Image

    def faint(content, style):
        return PIL.Image.blend(content, feedforward.picture(content, style), 0.7)

    assert not all(f.good for f in check(one_pair, faint))


def test_a_cost_that_has_risen_is_exit_code_1(vgg16, server, tmp_path, capsys):
    table = json.loads(COMMITTED.read_text())
    pair = table["pairs"][0]
    for side in ("content", "style"):
        pair[side] = str(COMMITTED.parent / pair[side])
    table["pairs"] = [pair]
    pair["feedforward"]["scores"]["magenta"]["total_cost"] *= 0.9
    path = tmp_path / "results.json"
    path.write_text(json.dumps(table))
    assert cli.main(["check", "--baseline", str(path), "--server", server.target, "--quiet"]) == 1
    told = capsys.readouterr().out
    assert "FAIL astronaut--waves: magenta cost" in told
    assert "gatys2016" not in told
    assert cli.main(["check", "--baseline", str(path), "--server", server.target, "--margin", "0.2", "--quiet"]) == 0


def test_a_file_that_is_no_baseline(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(BaselineError, match="no baseline"):
        Baseline.read(path)
    path.write_text("[]")
    with pytest.raises(BaselineError, match="not a results file"):
        Baseline.read(path)


def test_margins_are_checked(one_pair):
    with pytest.raises(InvalidOption, match="margin is -1"):
        check(one_pair, lambda content, style: content, margin=-1)
