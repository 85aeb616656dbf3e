import numpy as np
import pytest

from livelatent.judge.novelty.conformal import Conformal, conformal_p


def test_p_counts_calibration_cells_with_a_score_as_large():
    rng = np.random.default_rng(0)
    known, new = rng.integers(0, 20, 31).astype(float), rng.integers(-2, 23, 50).astype(float)
    np.testing.assert_allclose(conformal_p(new, known), [(1 + (known >= one).sum()) / 32 for one in new])


def test_t_is_minus_the_sum_of_logs_and_calibration_cells_rank_among_themselves():
    rng = np.random.default_rng(1)
    known, new = rng.normal(size=(3, 40)), rng.normal(size=(3, 5))
    total, p_value = Conformal(known).combine(new)
    wanted = [-sum(np.log((1 + (known[s] >= new[s, c]).sum()) / 41) for s in range(3)) for c in range(5)]
    own = [-sum(np.log((known[s] >= known[s, c]).sum() / 40) for s in range(3)) for c in range(40)]
    np.testing.assert_allclose(total, wanted)
    np.testing.assert_allclose(Conformal(known).total, own)
    np.testing.assert_allclose(p_value, conformal_p(np.array(wanted), np.array(own)))


@pytest.mark.parametrize("n_calibration", [50, 400])
def test_the_false_positive_rate_is_the_target_within_binomial_bounds(n_calibration):
    rng = np.random.default_rng(2)
    flagged, n = 0, 0
    for _ in range(300):
        # Three scores that agree in part, as real ones do.
        scores = rng.gamma(2, size=(3, n_calibration + 100)) + rng.gamma(2, size=n_calibration + 100)
        _, p_value = Conformal(scores[:, :n_calibration]).combine(scores[:, n_calibration:])
        flagged, n = flagged + (p_value <= 0.05).sum(), n + len(p_value)
    # Cells of one trial share their calibration, whose own chance adds to the binomial one.
    spread = np.sqrt(0.05 * 0.95 * (1 / n + 1 / (300 * n_calibration)))
    assert flagged / n <= 0.05 + 4 * spread
    assert flagged / n >= 0.03


def test_stranger_than_all_is_the_smallest_p_there_is():
    _, p_value = Conformal(np.zeros((3, 9))).combine(np.ones((3, 2)))
    np.testing.assert_allclose(p_value, 0.1)
