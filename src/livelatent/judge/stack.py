"""Three logistic regressions pooled by weights on their log probabilities."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.logistic import log_softmax

__all__ = ["fit_pool", "pool"]

# No probability counts as smaller, so that one confident head can't veto the others by infinity.
LOG_FLOOR = -30.0


def pool(
    log_proba: Float[ndarray, "head cell label"], weights: Float[ndarray, " head"]
) -> Float[ndarray, "cell label"]:
    """Log probabilities from logits = sum of weight x log probability over the heads."""
    return log_softmax(np.tensordot(weights, np.maximum(log_proba, LOG_FLOOR), axes=1))


def fit_pool(log_proba: Float[ndarray, "head cell label"], label: Int[ndarray, " cell"]) -> Float[ndarray, " head"]:
    """Weights >= 0 of greatest log likelihood on cells that no head has seen; their sum is an inverse temperature.

    Notes
    -----
    A ridge of one cell's worth draws them to 1 / heads each, so that a handful of cells, or heads that are always
    right (whose likelihood grows without end), give weights of ordinary size.
    """
    from scipy.optimize import minimize

    log_proba = np.maximum(log_proba, LOG_FLOOR)
    n_heads, n_cells, _ = log_proba.shape
    start = np.full(n_heads, 1 / n_heads)
    truth = log_proba[:, np.arange(n_cells), label]

    def loss(weights: ndarray) -> tuple[float, ndarray]:
        pooled = log_softmax(np.tensordot(weights, log_proba, axes=1))
        gradient = np.einsum("cl,hcl->h", np.exp(pooled), log_proba) - truth.sum(axis=1)
        away = weights - start
        value = -pooled[np.arange(n_cells), label].sum() + 0.5 * away @ away
        return float(value), gradient + away

    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 20.0)] * n_heads)
    return np.asarray(fitted.x)
