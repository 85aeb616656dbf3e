import numpy as np
import pytest
from scipy.optimize import minimize

from livelatent.judge.logistic import log_softmax
from livelatent.judge.stack import fit_pool, pool


def heads(seed=0, n=400):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    truth = np.eye(3)[label]
    return np.stack([log_softmax(strength * truth + rng.normal(size=(n, 3))) for strength in (2.0, 0.7, 0.0)]), label


def test_pooling_one_head_with_weight_one_changes_nothing():
    log_proba, _ = heads()
    np.testing.assert_allclose(pool(log_proba, np.array([1.0, 0, 0])), log_proba[0], atol=1e-12)


def uneven(n_rare=12, seed=1):
    """Cells of type 2, a few, are known to the second head alone; the first knows the two common types better."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], [260, 140 - n_rare, n_rare])
    truth = np.eye(3)[label]
    common, rare = [[2.0], [2.0], [0.0]], [[0.7], [0.7], [3.0]]
    strengths = [np.array(one)[label] for one in (common, rare)]
    return np.stack([log_softmax(one * truth + rng.normal(size=(400, 3))) for one in strengths]), label


@pytest.mark.parametrize("ridge_cells", [1.0, 300.0])
@pytest.mark.parametrize("n_rare", [None, 12, 3])
def test_the_mixture_maximises_the_penalised_likelihood_of_the_mean_type(n_rare, ridge_cells):
    log_proba, label = heads() if n_rare is None else uneven(n_rare)
    n_heads = len(log_proba)
    # Three cells of a type count as three in ten of it.
    share = [min((label == one).sum() / 10, 1) for one in range(3)]

    def loss(weights):
        weights = np.abs(weights)
        fitted = pool(log_proba, weights)[np.arange(400), label]
        together = 0.5 * ridge_cells * sum((one - weights.mean()) ** 2 for one in weights)
        mean_type = np.average([fitted[label == one].mean() for one in range(3)], weights=share)
        return -400 * mean_type + together + 0.5 * n_heads * (weights.mean() - 1 / n_heads) ** 2

    wanted = np.abs(minimize(loss, np.full(n_heads, 0.5), method="Nelder-Mead", options={"xatol": 1e-6}).x)
    got = fit_pool(log_proba, label, ridge_cells=ridge_cells)
    np.testing.assert_allclose(got / got.sum(), wanted / wanted.sum(), atol=2e-3)


def test_the_sum_of_the_weights_suits_the_cells_as_they_are():
    log_proba, label = uneven()
    got = fit_pool(log_proba, label)
    scales = np.linspace(0.2, 3, 2_000)
    # The likelihood is weighed against one cell's worth of ridge towards a sum of 1.
    value = [
        pool(log_proba, got * one)[np.arange(400), label].sum() - 0.5 * (one * got.sum() - 1) ** 2 for one in scales
    ]
    assert scales[np.argmax(value)] == pytest.approx(1, abs=0.005)


def test_weights_follow_what_heads_know_and_on_a_rare_type_as_much_as_on_a_common_one():
    got = fit_pool(*heads())
    assert got[0] > got[1] > got[2] >= 0
    log_proba, label = uneven()
    first, second = fit_pool(log_proba, label)
    assert second > first
    first, second = fit_pool(log_proba[:, label < 2], label[label < 2])
    assert first > second


def test_a_ridge_of_many_cells_makes_weights_equal():
    got = fit_pool(*heads(), ridge_cells=1e7)
    np.testing.assert_allclose(got, got.mean(), rtol=1e-3)
    assert got.mean() > 0.1


def test_heads_that_are_always_right_get_finite_weights_of_ordinary_size():
    log_proba = np.repeat(log_softmax(60.0 * np.eye(2))[None], 3, axis=0)
    weights = fit_pool(log_proba, np.array([0, 1]))
    assert np.isfinite(weights).all()
    assert weights.max() < 1
