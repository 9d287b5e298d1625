"""The guided filter that enlarges a stylized picture."""

import numpy as np
import pytest
from stylewire_server.imaging.guided import EPSILON, _box, _coefficients, enlarge


def scene(height: int, width: int) -> np.ndarray:
    """Smooth colors with a sharp slanted edge, float32 [H,W,3] in 0..1."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, np.newaxis, np.newaxis]
    edge = (x + 0.3 * y > 0.6).astype(np.float32)
    return np.stack([0.2 + 0.6 * edge, 0.5 * y + 0.2 * edge, 0.8 - 0.6 * x], -1).astype(np.float32)


def test_a_picture_of_the_contents_size_stays_as_it_is() -> None:
    picture = scene(40, 50)
    assert enlarge(picture, scene(40, 50), scene(40, 50)) is picture


@pytest.mark.parametrize(("small", "large"), [((60, 80), (240, 320)), ((33, 100), (150, 431)), ((100, 16), (101, 64))])
def test_an_affine_change_of_colors_is_found_and_applied(small: tuple[int, int], large: tuple[int, int]) -> None:
    """The assumption of the filter holds exactly here, so edges are as sharp as the content's."""
    matrix = np.array([[0.2, 0.7, 0.0], [0.5, 0.1, 0.1], [0.1, 0.1, 0.6]], np.float32)
    found = enlarge(scene(*small) @ matrix + 0.1, scene(*small), scene(*large))
    assert np.abs(found - (scene(*large) @ matrix + 0.1)).mean() < 0.01


def test_bytes_are_rounded_floats() -> None:
    small, large = (np.rint(scene(*size) * 255).astype(np.uint8) for size in ((40, 60), (100, 150)))
    as_bytes = enlarge(255 - small, small, large)
    as_floats = enlarge(*(each.astype(np.float32) / 255 for each in (255 - small, small, large)))
    assert as_bytes.dtype == np.uint8
    assert np.abs(as_floats * 255 - as_bytes).max() <= 0.51


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    picture, reduced, content = (rng.random((*size, 3), np.float32) for size in ((70, 30), (70, 30), (200, 90)))
    banded = enlarge(picture, reduced, content)
    monkeypatch.setattr("stylewire_server.imaging.guided._BAND", 1000)
    np.testing.assert_allclose(banded, enlarge(picture, reduced, content), atol=1e-5)


def test_a_window_is_the_mean_of_nine() -> None:
    planes = np.random.default_rng(1).random((2, 7, 9)).astype(np.float32)
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    expected = np.mean([padded[:, y : y + 7, x : x + 9] for y in range(3) for x in range(3)], axis=0)
    np.testing.assert_allclose(_box(planes), expected, atol=1e-6)


def test_coefficients_solve_the_least_squares_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is numpy's solver: ridge regression of the window's colors (He, Sun and Tang 2013, equation 19)."""
    rng = np.random.default_rng(2)
    guide, picture = rng.random((2, 3, 3, 3)).astype(np.float32)
    colors, wanted = (each.reshape(9, 3) - each.reshape(9, 3).mean(0) for each in (guide, picture))
    expected = np.linalg.solve(colors.T @ colors / 9 + EPSILON * np.eye(3), colors.T @ wanted / 9)
    averaged: list[np.ndarray] = []

    def record(planes: np.ndarray) -> np.ndarray:
        averaged.append(planes)
        return _box(planes)

    monkeypatch.setattr("stylewire_server.imaging.guided._box", record)
    _coefficients(guide, picture)
    # The last mean is that of the coefficients themselves; the middle window has all nine pixels.
    np.testing.assert_allclose(averaged[-1][:9, 1, 1].reshape(3, 3), expected, rtol=1e-3, atol=1e-3)


def test_a_checkpoint_ends_the_work() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        enlarge(scene(20, 20), scene(20, 20), scene(40, 40), stop)
