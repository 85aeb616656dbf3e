"""Multinomial logistic regression that can be kept without pickle: two arrays."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import LabelError
from livelatent.threads import one_thread

__all__ = ["Logistic", "fit_logistic"]

# What is added where a type had no training cell, or a probability is 0: finite, and never the largest.
LOG_ZERO = -60.0
MAX_STEPS = 500


@dataclass(frozen=True)
class Logistic:
    """Logits are x @ coef.T + intercept, over all labels; softmax gives probabilities."""

    coef: Float[ndarray, "label dim"]
    intercept: Float[ndarray, " label"]

    def log_proba(self, x: Any) -> Float[ndarray, "cell label"]:
        """Log probabilities of each label; `x` is dense or scipy sparse, [cell, dim]."""
        logits = np.asarray(x @ self.coef.T, np.float64) + self.intercept
        return log_softmax(logits)

    def predict(self, x: Any) -> Int[ndarray, " cell"]:
        """The most likely label of each cell."""
        return np.argmax(self.log_proba(x), axis=1)


def log_softmax(logits: Float[ndarray, "cell label"]) -> Float[ndarray, "cell label"]:
    """Logits less their log of summed exponentials."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fit_logistic(x: Any, label: Int[ndarray, " cell"], n_labels: int, *, inverse_penalty: float = 1.0) -> Logistic:
    """Fit by scikit-learn's L-BFGS; cells of label -1 are left out.

    Parameters
    ----------
    x
        Dense or scipy sparse, [cell, dim].
    inverse_penalty
        scikit-learn's C.

    Raises
    ------
    LabelError
        If no cell has a label.

    Notes
    -----
    A label without a training cell gets an intercept that keeps its probability at 0 to rounding. The data are held
    in memory: callers pass at most 50,000 cells; beyond that `fit_logistic_stream` goes on from there.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    used = np.flatnonzero(label >= 0)
    if not used.size:
        raise LabelError("a logistic regression needs labelled cells; none of these has a label.")
    label = label[used]
    present = np.unique(label)
    coef = np.zeros((n_labels, x.shape[1]), np.float32)
    intercept = np.full(n_labels, LOG_ZERO)
    if len(present) == 1:
        intercept[present] = 0.0
        return Logistic(coef, intercept)
    model = LogisticRegression(C=inverse_penalty, max_iter=MAX_STEPS)
    with warnings.catch_warnings(), one_thread():
        # Stopping there costs digits of an optimum that is regularised anyway, no accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Of types with a cell or two, scikit-learn asks whether they are numbers; they are names.
        warnings.filterwarnings("ignore", "The number of unique classes is greater")
        model.fit(x[used], label)
    if len(present) == 2:
        # scikit-learn keeps one row for two labels: the log odds of the second.
        coef[present[1]] = model.coef_[0]
        intercept[present] = (0.0, float(model.intercept_[0]))
    else:
        coef[present] = model.coef_
        intercept[present] = model.intercept_
    return Logistic(coef, intercept)
