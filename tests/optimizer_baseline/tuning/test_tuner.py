"""Tuning a style: the differentiable transformer is the served one, and what is written is what was found."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire_server.engine.openvino import OpenVinoEngine
from stylewire_server.models.lite import lite
from stylewire_server.styles.file import parse

from optimizer_baseline import InvalidOption, NotBetter, StopRun, TunedStyle, TuneProgress, TuneSettings, tune
from optimizer_baseline.cli import main
from optimizer_baseline.tuning import tuner
from optimizer_baseline.tuning.likeness import compiled_restoring_gradient, correlations, likeness
from optimizer_baseline.tuning.tuner import CONTENT_LIMIT, _compiled

tf = pytest.importorskip("tensorflow")

SHORT = {"weights": "random:1", "steps": 8, "size": 64, "learning_rate": 0.02}
"""Untrained VGG weights and few steps: J falls all the same."""


@pytest.fixture(scope="module")
def engine() -> OpenVinoEngine:
    return tuner._engine(lite())


@pytest.fixture(scope="module", autouse=True)
def compiled_once(engine: OpenVinoEngine) -> Iterator[None]:
    """Compile the network once: all tests tune the same one, and compiling takes longer than the steps."""
    with pytest.MonkeyPatch.context() as patch:
        compiled: list = []

        def compile_once(transformer: object) -> tuple:
            if not compiled:
                compiled.extend(_compiled(transformer))
            return tuple(compiled)

        patch.setattr(tuner, "_compiled", compile_once)
        patch.setattr(tuner, "_engine", lambda network: engine)
        yield


def pixels(path: Path, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), np.float32)[np.newaxis] / 255


@pytest.mark.parametrize("tuned", [False, True])
def test_the_transformer_is_the_served_one(engine, photo: Path, style_picture: Path, tuned: bool) -> None:
    from optimizer_baseline.tuning.transformer import Transformer, read_weights

    transformer = Transformer(read_weights(lite()))
    assert (transformer.style_dimension, transformer.parameters) == (100, 694)
    content = pixels(photo, (204, 160))
    vector = engine.predict(pixels(style_picture))[0]
    tuning = np.float32(tuned) * np.random.default_rng(0).normal(0, 0.1, 694).astype(np.float32)
    parameters = transformer.norm_parameters(vector) + tuning
    made = transformer.paint(transformer.contract(tf.constant(content)), tf.constant(parameters)).numpy()
    served = engine.transform(content, np.concatenate([vector, tuning])[np.newaxis])
    assert -10 * np.log10(np.mean(np.square(made - served))) >= 90


@pytest.fixture(scope="module")
def tuned(style_picture: Path) -> tuple[TunedStyle, list[TuneProgress]]:
    """A tuned style, and what was told on the way."""
    told: list[TuneProgress] = []
    return tune(style_picture, settings=TuneSettings(**SHORT), callback=told.append), told


def test_a_style_is_tuned_and_its_file_is_what_was_found(engine, tuned, style_picture: Path) -> None:
    tuned, told = tuned
    assert tuned.after.cost < tuned.before.cost
    assert tuned.after.content_cost <= CONTENT_LIMIT * tuned.before.content_cost
    assert [each.step for each in told] == list(range(9))
    style = parse("wave", tuned.file("The Wave, by hand"))
    assert (style.tuned, style.origin, style.edition.name) == (True, "The Wave, by hand", "lite")
    np.testing.assert_array_equal(style.vector, np.concatenate([tuned.vector, tuned.tuning]))
    np.testing.assert_allclose(style.vector[:100], engine.predict(pixels(style_picture))[0], atol=0.05)
    assert style.tuning is not None
    assert style.tuning["photographs"] == ["chelsea.jpg", "coffee.jpg"]
    assert style.tuning["kept_apart"] == ["astronaut.jpg"]
    assert style.tuning["cost_after"] == tuned.after.cost
    content, _, after = tuned.pictures[0]
    again = engine.transform(np.asarray(content, np.float32)[np.newaxis] / 255, style.vector[np.newaxis])
    assert np.abs(again[0] * 255 - np.asarray(after, float)).max() <= 1


def test_a_stop_keeps_the_best_so_far_and_a_style_that_is_no_better_is_refused(style_picture: Path) -> None:
    def stop_at(step: int):
        def callback(progress: TuneProgress) -> None:
            if progress.step == step:
                raise StopRun("enough")

        return callback

    with pytest.raises(NotBetter, match="the cost on photographs kept apart was"):
        tune(style_picture, settings=TuneSettings(**SHORT), callback=stop_at(1))
    slower = TuneSettings(**SHORT | {"steps": 40, "learning_rate": 0.005})
    stopped = tune(style_picture, settings=slower, callback=stop_at(16))
    assert (stopped.steps, stopped.stopped) == (16, "enough")
    assert stopped.after.cost < stopped.before.cost


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0; the minimum is 1 step"),
        ({"size": 66}, "size is 66 px; it must be a multiple of 4 from 64 to 512 px"),
        ({"amount": 1.5}, "amount is 1.5; it must be above 0, and 1 at most"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"preset": "none"}, "unknown preset 'none'"),
    ],
)
def test_bad_settings_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        TuneSettings(**change)


def test_one_photograph_is_too_few(photo: Path, style_picture: Path) -> None:
    with pytest.raises(InvalidOption, match="photographs are 1; at least 2"):
        tune(style_picture, photographs=[photo], settings=TuneSettings(**SHORT))


def test_the_command_writes_file_and_sheet_and_an_amount_is_a_point_on_the_line(
    style_picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "wave.style"
    short = SHORT | {"learning_rate": 0.01}
    flags = [part for name, value in short.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    options = [*flags, "--amount", "0.5", "--quiet"]
    assert main(["tune", str(style_picture), "-o", str(out), *options]) == 0
    style = parse("wave", out.read_bytes())
    assert style.tuned
    assert "amount 0.5, 8 steps" in capsys.readouterr().err
    with Image.open(out.with_suffix(".png")) as sheet:
        assert sheet.width > 3 * 256
    whole = tune(style_picture, settings=TuneSettings(**short, amount=1.0))
    np.testing.assert_allclose(style.vector[100:], whole.tuning * 0.5, atol=1e-5)
    assert whole.after.cost < style.tuning["cost_after"] < whole.before.cost
    assert main(["tune", str(style_picture), "-o", str(tmp_path / "wave.jpg"), *options]) == 2
    assert "does not end in .style" in capsys.readouterr().err


def barred(content: np.ndarray, share: float) -> np.ndarray:
    """Return a content that vertical bars hide by that share."""
    bars = np.broadcast_to((np.arange(256) // 16 % 2)[None, None, :, None], content.shape).astype(np.float32)
    return (1 - share) * content + share * bars


def test_likeness_is_whole_for_the_content_and_falls_as_it_is_hidden(photo: Path) -> None:
    content = pixels(photo)
    noise = np.random.default_rng(0).random(content.shape, np.float32)
    hidden = [likeness(content, barred(content, share)) for share in (0.0, 0.4, 0.8, 1.0)]
    assert hidden[0] == pytest.approx(1)
    assert hidden == sorted(hidden, reverse=True)
    assert hidden[-1] < 0.3
    assert likeness(content, 0.5 * content + 0.5 * noise) > 0.8


def test_the_restoring_gradient_leads_back_to_the_layout_and_ends_where_it_is_like_enough(photo: Path) -> None:
    content = pixels(photo)
    picture, least = barred(content, 0.7), np.float32([0.8, 0.8])
    restoring = compiled_restoring_gradient()
    before = correlations(content, picture).numpy()
    assert before.min() < 0.8
    for _ in range(60):
        picture = picture - np.float32(3000) * restoring(content, picture, least).numpy()
    after = correlations(content, picture).numpy()
    assert (after >= np.minimum(before, least)).all()
    assert after.min() > 0.75
    assert not restoring(content, picture, after - np.float32(0.01)).numpy().any()
