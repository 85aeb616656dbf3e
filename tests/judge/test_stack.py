import numpy as np
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


def test_weights_maximise_the_penalised_likelihood_and_follow_what_heads_know():
    log_proba, label = heads()

    def loss(weights):
        fitted = pool(log_proba, np.abs(weights))[np.arange(len(label)), label].sum()
        return -fitted + 0.5 * ((np.abs(weights) - 1 / 3) ** 2).sum()

    wanted = minimize(loss, np.full(3, 0.5), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    got = fit_pool(log_proba, label)
    np.testing.assert_allclose(got, np.abs(wanted), atol=2e-3)
    assert got[0] > got[1] > got[2] >= 0


def test_heads_that_are_always_right_get_finite_weights_of_ordinary_size():
    log_proba = np.repeat(log_softmax(60.0 * np.eye(2))[None], 3, axis=0)
    weights = fit_pool(log_proba, np.array([0, 1]))
    assert np.isfinite(weights).all()
    assert weights.max() < 1
