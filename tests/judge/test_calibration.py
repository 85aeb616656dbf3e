import numpy as np
import pytest

from livelatent.judge.calibration import reliability


def test_the_error_is_the_mean_distance_of_bins_weighted_by_their_cells():
    # .91 and .97 share a bin of 10, with one of two right; .55 is alone and right; 1.0 belongs to the last bin.
    found = reliability(np.array([0.91, 0.97, 0.55, 1.0]), np.array([True, False, True, True]), n_bins=10)
    assert found.n_cells.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert found.n_right.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    assert found.error == pytest.approx((abs(1 - 0.55) + abs(2 - (0.91 + 0.97 + 1.0))) / 4)


def test_honest_probabilities_have_a_small_error_and_confident_ones_a_large():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.3, 1, 40_000)
    honest = reliability(probability, rng.random(40_000) < probability)
    boast = reliability(np.minimum(probability + 0.2, 1), rng.random(40_000) < probability)
    assert honest.error < 0.015
    # Above .8 a probability was cut to 1, so it boasts by less than .2.
    assert boast.error == pytest.approx((0.2 * 0.5 + (0.2 / 2) * 0.2) / 0.7, abs=0.01)


def test_no_cell_is_no_error():
    with pytest.raises(ValueError, match="got none"):
        _ = reliability(np.empty(0), np.empty(0, bool)).error


def test_the_figure_shows_bins_that_hold_cells_only():
    drawn = reliability(np.array([0.91, 0.97, 0.55]), np.array([True, False, True]), n_bins=10).figure()
    (axes,) = drawn.axes
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [0.55, 0.94])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [1.0, 0.5])
    assert "3 cells" in axes.get_title()
