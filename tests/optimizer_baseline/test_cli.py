"""The command line: in this process, or in its own process if signals or imports matter."""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.testing import until

from optimizer_baseline.cli import main

QUICK = ["--preset", "magenta", "--weights", "random:1", "--precision", "f32", "--size", "40"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path, content, style):
    content.save(tmp_path / "content.png")
    style.save(tmp_path / "style.png")
    return tmp_path


def stylize(files, *more, out="out.png"):
    return main(
        ["stylize", str(files / "content.png"), str(files / "style.png"), "-o", str(files / out), *QUICK, *more]
    )


def command(*arguments):
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return [sys.executable, "-m", "optimizer_baseline", *map(str, arguments)], os.environ | {"PYTHONPATH": path}


def test_stylize_writes_the_picture_and_the_run(files, capfd):
    run = files / "run"
    assert stylize(files, "--iterations", "7", "--run", str(run), "--snapshot-every", "3", "--film", "gif") == 0
    assert Image.open(files / "out.png").size == (40, 33)
    assert sorted(p.name for p in (run / "snapshots").iterdir()) == ["000003.png", "000006.png", "000007.png"]
    history = json.loads((run / "history.json").read_text())
    assert [r["iteration"] for r in history] == list(range(1, 8))
    assert history[-1]["total_cost"] < history[0]["total_cost"]
    assert set(history[0]["style_cost_by_layer"]) == {"relu1_2", "relu2_2", "relu3_3", "relu4_3"}
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["total_cost"]) for r in rows] == [r["total_cost"] for r in history]
    assert Image.open(run / "run.gif").n_frames == 3
    assert Image.open(run / "curves.png").size[0] > 500
    # The last snapshot is the picture of the last iteration, the result the best: the same for L-BFGS.
    last, out = (np.asarray(Image.open(p), int) for p in (run / "snapshots" / "000007.png", files / "out.png"))
    assert np.abs(last - out).max() <= 1
    assert "evaluations" in capfd.readouterr().err


def test_several_contents_go_into_a_folder(files, style):
    (files / "more").mkdir()
    style.save(files / "more" / "other.png")
    more = ["--contents", str(files / "more"), "--iterations", "1", "--quiet"]
    assert stylize(files, *more, out="results") == 0
    assert sorted(p.name for p in (files / "results").iterdir()) == ["content.png", "other.png"]
    assert Image.open(files / "results" / "other.png").size == (40, 31)


def test_as_published_yields_to_what_is_given(files):
    run = files / "run"
    given = ["--preset", "tf-tutorial", "--as-published", "--iterations", "2", "--run", str(run)]
    assert stylize(files, *given) == 0
    kept = json.loads((run / "run.json").read_text())
    assert (kept["optimizer"], kept["betas"], kept["iterations"], kept["size"]) == ("adam", [0.99, 0.999], 2, 40)
    assert main(["stylize", "--resume", str(run), "--iterations", "3", "--quiet"]) == 0


def test_resume_continues_the_run(files):
    run = files / "run"
    assert stylize(files, "--iterations", "4", "--run", str(run), "--snapshot-every", "2") == 0
    assert main(["stylize", "--resume", str(run), "--iterations", "9", "--quiet"]) == 0
    history = json.loads((run / "history.json").read_text())
    assert [r["iteration"] for r in history] == list(range(1, 10))
    assert history[8]["total_cost"] < history[3]["total_cost"]
    assert main(["stylize", "--resume", str(run), "--quiet"]) == 2


def test_a_run_is_never_overwritten(files, capfd):
    run = files / "run"
    assert stylize(files, "--iterations", "1", "--run", str(run)) == 0
    assert stylize(files, "--iterations", "1", "--run", str(run)) == 1
    assert "holds a run already" in capfd.readouterr().err
    assert main(["stylize", "--resume", str(files / "nothing")]) == 1
    assert "holds no run to resume: no run.json" in capfd.readouterr().err


def test_a_run_that_never_began_may_begin_again(files, capfd):
    run = files / "run"
    with_run = ["--iterations", "1", "--run", str(run), "--style-layers", "relu1_1=x"]
    assert stylize(files, *with_run) == 2
    (files / "style.png").rename(files / "kept.png")
    assert stylize(files, "--iterations", "1", "--run", str(run)) == 1
    (files / "kept.png").rename(files / "style.png")
    assert stylize(files, "--iterations", "1", "--run", str(run)) == 0
    (run / "state.npz").write_bytes((run / "state.npz").read_bytes()[:500])
    capfd.readouterr()
    assert main(["stylize", "--resume", str(run), "--iterations", "2", "--quiet"]) == 1
    assert capfd.readouterr().err.startswith(f"error: cannot resume {run}: ")


def test_a_resumed_run_keeps_its_settings_and_remembers_new_ones(files, capfd):
    run = files / "run"
    assert stylize(files, "--iterations", "2", "--run", str(run)) == 0
    capfd.readouterr()
    assert main(["stylize", "--resume", str(run), "--size", "99"]) == 2
    assert capfd.readouterr().err == "error: --size is 99; the run to resume has 40, and keeps it\n"
    # The value that it would have by itself is asked for too.
    for flag, usual in (("--preset", "gatys2016"), ("--size", "512"), ("--precision", "auto")):
        assert main(["stylize", "--resume", str(run), flag, usual]) == 2
        assert capfd.readouterr().err.startswith(f"error: {flag} is {usual}; the run to resume has ")
    assert main(["stylize", "--resume", str(run), "--iterations", "4", "--size", "40", "--quiet"]) == 0
    kept = (run / "run.json").read_text()
    assert json.loads(kept)["iterations"] == 4
    # A run that does not go on is left as it is.
    assert main(["stylize", "--resume", str(run), "--iterations", "3", "-o", str(files / "x.png"), "--quiet"]) == 2
    assert "the run is complete" in capfd.readouterr().err
    assert (run / "run.json").read_text() == kept


def test_the_result_is_tried_before_the_work(files, capfd):
    content = (files / "content.png").read_bytes()
    (files / "folder.png").mkdir()
    for out, code, message in (
        ("content.png", 2, "is a picture to read; write to another file"),
        ("style.png", 2, "is a picture to read; write to another file"),
        ("folder.png", 2, "is a folder; the result is a file"),
        ("style.png/out.png", 1, "style.png"),
    ):
        assert stylize(files, "--iterations", "100000", out=out) == code
        assert message in capfd.readouterr().err
    assert (files / "content.png").read_bytes() == content


# Only a limit against hanging: a loaded machine takes minutes to start TensorFlow.
@pytest.mark.timeout(600)
def test_ctrl_c_saves_the_best_picture_and_the_run_can_go_on(files):
    run = files / "run"
    arguments = ["stylize", files / "content.png", files / "style.png", "-o", files / "out.png", *QUICK]
    line, environment = command(*arguments, "--iterations", 100000, "--run", run, "--snapshot-every", 5, "--threads", 2)
    process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: process.poll() is not None or list(run.glob("snapshots/*.png")), "a snapshot is there", 400)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "(interrupted)" in errors
    assert Image.open(files / "out.png").size == (40, 33)
    done = json.loads((run / "history.json").read_text())[-1]["iteration"]
    assert (run / "snapshots" / f"{done:06d}.png").exists()
    assert main(["stylize", "--resume", str(run), "--iterations", str(done + 2), "--quiet"]) == 0


def test_score_prints_one_json_object(files, capfd):
    names = [str(files / f"{n}.png") for n in ("content", "style", "content")]
    assert main(["score", *names, "--weights", "random:1", "--network", "vgg16", "--size", "64", "--json"]) == 0
    outcome = json.loads(capfd.readouterr().out)
    assert outcome["preset"] == "gatys2016"
    assert outcome["definition"]["style_weight"] == 1.0
    assert outcome["network"] == "vgg16"
    assert outcome["size"] == 64
    assert outcome["content_cost"] == 0.0
    assert outcome["style_cost"] > 0
    assert list(outcome["style_cost_by_layer"]) == ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    for key in ("content_cost", "style_cost", "style_cost_by_layer", "total_variation"):
        assert outcome["unweighted"][key] == outcome[key]
        assert key in outcome["weighted"]
    assert (
        outcome["weighted"]["total_cost"] == outcome["total_cost"] == pytest.approx(outcome["weighted"]["style_cost"])
    )


def test_score_tells_of_a_changed_preset_and_of_another_shape(files, capfd, monkeypatch):
    # Pytest's handlers would keep the command from having its own.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    Image.open(files / "content.png").crop((0, 0, 40, 40)).save(files / "square.png")
    names = [str(files / f"{n}.png") for n in ("content", "style", "square")]
    options = ["--weights", "random:1", "--preset", "magenta", "--size", "48", "--style-weight", "9", "--json"]
    assert main(["score", *names, *options]) == 0
    out, errors = capfd.readouterr()
    assert json.loads(out)["preset"] == "magenta (changed)"
    assert errors == "WARNING: content is 48x40 px, picture 48x48 px: comparing with the center of the content\n"


def test_score_as_a_table(files, capfd):
    names = [str(files / f"{n}.png") for n in ("content", "style", "style")]
    assert main(["score", *names, "--weights", "random:1", "--preset", "magenta", "--size", "48"]) == 0
    table = capfd.readouterr().out
    for word in ("magenta, vgg16, 48x38 px, f32", "relu4_3", "total variation", "unweighted", "weighted"):
        assert word in table


def test_own_layers_and_weights(files, capfd):
    names = [str(files / f"{n}.png") for n in ("content", "style", "style")]
    options = ["--content-layers", "relu2_2", "--style-layers", "relu1_1=0.25,relu2_1", "--style-weight", "3"]
    assert main(["score", *names, "--weights", "random", "--preset", "magenta", *options, "--json"]) == 0
    outcome = json.loads(capfd.readouterr().out)
    layers = outcome["style_cost_by_layer"]
    assert list(layers) == ["relu1_1", "relu2_1"]
    expected = 3 * (0.25 * layers["relu1_1"] + layers["relu2_1"])
    assert outcome["weighted"]["style_cost"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{content}", "{style}", "-o", "{dir}/o.png", "--init", "{dir}/gone.png"], 1, "init: no file"),
        (["{dir}/gone.png", "{style}", "-o", "{dir}/o.png"], 1, "content: no file"),
        (["{dir}/text.png", "{style}", "-o", "{dir}/o.png"], 1, "is not a picture"),
        (["{content}", "{style}", "-o", "{dir}/o.tiff"], 2, "has suffix '.tiff'"),
        (["{content}", "{style}"], 2, "needs CONTENT, at least one STYLE, and -o OUT"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--style-layers", "conv9_1"], 2, "no layer 'conv9_1'"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--style-layers", "relu1_1=x"], 2, "expected a number"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--size", "9"], 2, "size is 9; the minimum is 16 px"),
        (
            ["{content}", "{style}", "-o", "{dir}/o.png", "--size", "30000"],
            1,
            "GB are available. Choose a smaller size",
        ),
        (["{content}", "{style}", "-o", "{dir}/o.jpg", "--bits", "16"], 2, "16 bits are for .png"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--contents", "{style}"], 2, "-o is a folder"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--as-published"], 2, "magenta runs no optimizer"),
        (["{tiny}", "{style}", "-o", "{dir}/o.png", "--size", "16"], 1, "needs at least 8 px"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--init", "feedforward"], 2, "--server HOST:PORT"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--weights", "{dir}/w.h5"], 1, "no weights file"),
        (["{content}", "{style}", "-o", "{dir}/o.png", "--masks", "-", "-"], 2, "2 masks for 1 style"),
    ],
)
def test_failures_are_one_line(arguments, code, message, files, capfd):
    (files / "text.png").write_text("hello")
    Image.new("RGB", (160, 20)).save(files / "tiny.png")
    places = {"dir": files, "content": files / "content.png", "style": files / "style.png", "tiny": files / "tiny.png"}
    base = ["--preset", "magenta", "--weights", "random", "--iterations", "1", "--quiet"]
    assert main(["stylize", *base, *(a.format(**places) for a in arguments)]) == code
    errors = capfd.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert errors.startswith("error: ")
    assert not (files / "o.png").exists()


@pytest.mark.parametrize("arguments", [[], ["paint"], ["stylize", "--preset", "monet"], ["score", "one.png"]])
def test_usage_errors_are_2(arguments, capfd):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capfd.readouterr().err


def printed(code, environment):
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, check=True, timeout=280)
    return done.stdout.decode().strip()


def test_help_and_import_are_light():
    """Neither needs TensorFlow, and a bare import not even numpy."""
    line, environment = command("stylize", "--help")
    shown = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, timeout=280)
    assert "--preserve-color" in shown.stdout
    code = "import sys, optimizer_baseline; print(sorted({'numpy', 'PIL', 'tensorflow', 'scipy'} & sys.modules.keys()))"
    assert printed(code, environment) == "[]"
    code = "import sys, optimizer_baseline as o; o.stylize, o.score; print('tensorflow' in sys.modules)"
    assert printed(code, environment) == "False"
