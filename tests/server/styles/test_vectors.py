"""Arithmetic on style vectors."""

import numpy as np
from stylewire_server.styles.vectors import blend, fingerprint, interpolate

A, B = np.array([1.0, 0.0, 2.0], np.float32), np.array([0.0, 4.0, -2.0], np.float32)


def test_weights_one_and_zero_give_the_first_style() -> None:
    np.testing.assert_array_equal(blend([A, B], [1, 0]), A)


def test_weights_are_divided_by_their_sum() -> None:
    np.testing.assert_allclose(blend([A, B], [3, 1]), [0.75, 1.0, 1.0])
    np.testing.assert_array_equal(blend([A, B], [3, 1]), blend([A, B], [0.3, 0.1]))


def test_one_style_is_itself_at_any_weight() -> None:
    np.testing.assert_array_equal(blend([B], [0.3]), B)


def test_interpolate_goes_from_content_to_style() -> None:
    np.testing.assert_array_equal(interpolate(A, B, 0.0), A)
    np.testing.assert_array_equal(interpolate(A, B, 1.0), B)
    np.testing.assert_allclose(interpolate(A, B, 0.25), [0.75, 1.0, 1.0])


def test_a_tuning_takes_part_in_sums_and_is_zero_elsewhere() -> None:
    tuned = np.array([0.0, 4.0, -2.0, 8.0, -8.0], np.float32)
    np.testing.assert_allclose(blend([A, tuned], [3, 1]), [0.75, 1.0, 1.0, 2.0, -2.0])
    np.testing.assert_allclose(interpolate(A, tuned, 0.25), [0.75, 1.0, 1.0, 2.0, -2.0])
    np.testing.assert_allclose(interpolate(tuned, A, 0.25), [0.25, 3.0, -1.0, 6.0, -6.0])


def test_fingerprint_tells_pictures_apart() -> None:
    wide, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert len({fingerprint(b"a"), fingerprint(b"b"), fingerprint(wide), fingerprint(tall)}) == 4
    assert fingerprint(wide) == fingerprint(wide.copy())
