"""Three logistic regressions pooled by weights on their log probabilities."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.logistic import log_softmax

__all__ = ["fit_pool", "pool"]

# No probability counts as smaller, so that one confident head can't veto the others by infinity.
LOG_FLOOR = -30.0
# A type of fewer held-back cells than this counts less than the others do: one odd cell is not a type's worth of them.
WHOLE_TYPE_CELLS = 10


def pool(
    log_proba: Float[ndarray, "head cell label"], weights: Float[ndarray, " head"]
) -> Float[ndarray, "cell label"]:
    """Log probabilities from logits = sum of weight x log probability over the heads."""
    return log_softmax(np.tensordot(weights, np.maximum(log_proba, LOG_FLOOR), axes=1))


def fit_pool(
    log_proba: Float[ndarray, "head cell label"], label: Int[ndarray, " cell"], *, ridge_cells: float = 1.0
) -> Float[ndarray, " head"]:
    """Weights >= 0 of greatest log likelihood on cells that no head has seen; their sum is an inverse temperature.

    Parameters
    ----------
    ridge_cells
        How many cells' worth of ridge draws the weights to each other. Where whole batches were held back: the cells
        of one, since heads err alike on all cells of a batch, and which head is best changes from batch to batch.

    Notes
    -----
    The mixture, that is the weights up to their sum, is of greatest likelihood where each type counts the same however
    many cells it has, so that the heads' say on rare types isn't decided by cells of the most common; the sum is then
    of greatest likelihood on the cells as they are, or probabilities would be those of another composition. The ridge
    is half of `ridge_cells` times the squared distances of the weights from their mean. The mean is drawn to 1 / heads
    by one cell's worth only, so that a handful of cells, or heads that are always right (whose likelihood grows without
    end), give weights of ordinary size.
    """
    log_proba = np.maximum(log_proba, LOG_FLOOR)
    weights = _most_likely(log_proba, label, _type_balance(label), ridge_cells)
    mixture = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
    mixed = np.tensordot(mixture, log_proba, axes=1)[None]
    return np.asarray(mixture * _most_likely(mixed, label, np.ones(len(label)), 0.0))


def _type_balance(label: Int[ndarray, " cell"]) -> Float[ndarray, " cell"]:
    """How much each cell counts where types count the same, those of a few cells excepted; 1 on average."""
    counts = 1 / np.maximum(np.bincount(label, minlength=1), WHOLE_TYPE_CELLS)[label]
    return np.asarray(counts * (len(label) / counts.sum())) if len(label) else counts


def _most_likely(
    log_proba: Float[ndarray, "head cell label"],
    label: Int[ndarray, " cell"],
    counts: Float[ndarray, " cell"],
    ridge_cells: float,
) -> Float[ndarray, " head"]:
    """Weights of greatest penalised likelihood, each cell counted so many times."""
    from scipy.optimize import minimize

    n_heads, n_cells, _ = log_proba.shape
    truth = log_proba[:, np.arange(n_cells), label] @ counts

    def loss(weights: ndarray) -> tuple[float, ndarray]:
        pooled = log_softmax(np.tensordot(weights, log_proba, axes=1))
        gradient = np.einsum("c,cl,hcl->h", counts, np.exp(pooled), log_proba, optimize=True) - truth
        apart, away = weights - weights.mean(), weights.mean() - 1 / n_heads
        value = -pooled[np.arange(n_cells), label] @ counts + 0.5 * (ridge_cells * apart @ apart + n_heads * away**2)
        return float(value), gradient + ridge_cells * apart + away

    start = np.full(n_heads, 1 / n_heads)
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 20.0)] * n_heads)
    return np.asarray(fitted.x)
