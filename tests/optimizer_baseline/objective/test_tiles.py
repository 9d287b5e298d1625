"""The cost in tiles is the cost of the whole picture."""

from pathlib import Path

import numpy as np
import pytest

from optimizer_baseline import CustomCost, InvalidOption, score, stylize
from optimizer_baseline.objective.objective import Objective, Style
from optimizer_baseline.objective.presets import preset
from optimizer_baseline.objective.tiles import TiledObjective
from optimizer_baseline.vgg import weights
from optimizer_baseline.vgg.architecture import layers, reach

pytest.importorskip("tensorflow")


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    return [generator.random((1, height, width, 3), np.float32) for height, width in sizes]


@pytest.mark.parametrize(
    ("name", "tile", "size", "masked"),
    [
        ("stylewire", 128, (206, 150), False),  # odd numbers of positions at the deep layers
        ("johnson2016", 160, (130, 190), True),
        ("w2", 128, (150, 206), True),
    ],
)
def test_costs_and_gradient_are_those_of_the_whole_picture(
    name: str, tile: int, size: tuple[int, int], masked: bool
) -> None:
    loaded = weights.load("vgg16", "random:3")
    cost = preset(name).replace(network="vgg16")
    content, picture, one, two = pictures(size, size, (97, 201), (64, 80))
    styles = [Style(one, 3.0), Style(two)]
    if masked:
        across = np.broadcast_to(np.linspace(0.0, 1.0, size[1], dtype=np.float32)[:, np.newaxis], (1, *size, 1))
        styles += [Style(two, 1.0, across), Style(one, 2.0, 1.0 - across)]
    whole = Objective(content, styles, cost, loaded)
    tiled = TiledObjective(content, styles, cost, loaded, tile=tile)
    wanted, slope = whole.value_and_gradient(picture)
    found, gradient = tiled.value_and_gradient(picture)
    assert found.total_cost == pytest.approx(wanted.total_cost, rel=2e-6)
    assert found.weighted_content_cost == pytest.approx(wanted.weighted_content_cost, rel=2e-6)
    assert dict(found.style_cost_by_layer) == pytest.approx(dict(wanted.style_cost_by_layer), rel=1e-4)
    assert found.total_variation == pytest.approx(wanted.total_variation, rel=1e-5)
    assert np.abs(gradient - slope).max() <= 1e-4 * np.abs(slope).max()
    assert tiled.costs(picture).total_cost == found.total_cost


def test_the_halo_covers_what_a_position_sees() -> None:
    path = layers("vgg19")
    assert reach(path[: path.index("relu1_2") + 1]) == 2
    assert reach(path[: path.index("relu2_1") + 1]) == 5
    assert reach(path[: path.index("relu5_1") + 1]) == 85


def test_the_costs_of_a_run_in_tiles_are_those_of_its_picture(photo: Path, style_picture: Path) -> None:
    options = {"weights": "random:1", "preset": preset("gatys2016").replace(network="vgg16"), "size": 160}
    made = stylize(photo, style_picture, tile=128, iterations=2, scales=1, **options)
    assert made.history[-1].costs.total_cost < made.history[0].costs.total_cost
    found = score(photo, style_picture, made.pixels, **options)
    assert found.costs.total_cost == pytest.approx(made.costs.total_cost, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 64}, "tile is 64; the minimum is 128 px"),
        ({"tile": 256, "preset": "histogram"}, "preset histogram compares styles by histogram, which needs the whole"),
        ({"tile": 256, "custom": CustomCost((), len)}, "a custom cost needs the whole picture at once"),
    ],
)
def test_what_tiles_cannot_do_is_refused(options: dict, message: str, photo: Path, style_picture: Path) -> None:
    with pytest.raises(InvalidOption, match=message):
        stylize(photo, style_picture, weights="random:1", **options)
