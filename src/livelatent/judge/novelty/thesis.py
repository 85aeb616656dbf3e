"""The rule of Andrekson (2024): a cell is new where the classifier is sure of no known type."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.arrays import Bool, Float, ndarray
from livelatent.judge.logistic import log_softmax

__all__ = ["THESIS_THRESHOLD", "Likelihoods", "likelihood", "precision_and_coverage", "threshold_curve"]

THESIS_THRESHOLD = 0.25


def likelihood(logits: Float[ndarray, "cell label"]) -> Float[ndarray, " cell"]:
    """(max softmax - 1/C) / (1 - 1/C): 0 where all C types are as likely, 1 where one is certain.

    Raises
    ------
    ValueError
        If there is one type only: whatever the cell, its softmax is 1.

    Notes
    -----
    Section 2.7 of Andrekson (2024; docs/equations.md) ("min-max normalize the likelihoods").

    Examples
    --------
    >>> likelihood(np.log(np.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]))).round(3)
    array([0.25, 0.  ])
    """
    n_labels = logits.shape[1]
    if n_labels < 2:
        raise ValueError(f"the thesis's rule compares types, so it needs at least 2; this classifier has {n_labels}.")
    largest = np.exp(log_softmax(np.asarray(logits, np.float64)).max(axis=1))
    return np.asarray(np.clip((largest - 1 / n_labels) / (1 - 1 / n_labels), 0.0, 1.0))


@dataclass(frozen=True)
class Likelihoods:
    """The thesis's likelihood in a p-value's place: small is strange, but no rate of false alarms is promised."""

    p_value: Float[ndarray, " calibration"]
    """Likelihoods of the calibration cells."""

    @property
    def n_cells(self) -> int:
        """How many calibration cells flags are held against."""
        return len(self.p_value)

    def combine(self, scores: Float[ndarray, "one cell"]) -> tuple[Float[ndarray, " cell"], Float[ndarray, " cell"]]:
        """1 - likelihood, and the likelihood, of new cells."""
        return 1.0 - scores[0], scores[0]


def precision_and_coverage(n_true: int, n_false: int, n_novel: int) -> tuple[float, float]:
    """Share of what is flagged that is new (NaN where nothing is flagged), and share of what is new that is flagged.

    Raises
    ------
    ValueError
        If nothing is new: coverage is then of nothing.

    Examples
    --------
    >>> precision, coverage = precision_and_coverage(74, 17, 225)  # test folds, section 3.6
    >>> round(precision, 2), round(coverage, 2)
    (0.81, 0.33)
    """
    if n_novel < 1:
        raise ValueError("coverage is the share of novel cells that are found, so it needs at least 1; got none.")
    flagged = n_true + n_false
    return (n_true / flagged if flagged else float("nan")), n_true / n_novel


def threshold_curve(
    likelihood: Float[ndarray, " cell"],
    is_novel: Bool[ndarray, " cell"],
    thresholds: Float[ndarray, " threshold"] | None = None,
) -> pd.DataFrame:
    """Precision and coverage of the thesis's rule at each threshold, where it is known which are new.

    Parameters
    ----------
    likelihood
        Of cells; or the smallest of each test fold, known and new cells apart, as the thesis counts (its 74 true and
        17 false of 225 at .25 are such folds, not cells).
    thresholds
        None: 0.05 to 1 in steps of 0.05.

    Returns
    -------
    Columns threshold, n_true, n_false, precision (NaN where nothing lies below), coverage.

    Notes
    -----
    Figure 3.13 of Andrekson (2024), *Learning Meaningful Representations of Cells* (docs/equations.md). "Lower than
    this threshold" (section 3.6): a likelihood equal to it is known.
    """
    steps = np.linspace(0.05, 1.0, 20) if thresholds is None else np.asarray(thresholds, np.float64)
    novel = np.sort(likelihood[is_novel])
    known = np.sort(likelihood[~is_novel])
    n_true, n_false = np.searchsorted(novel, steps, side="left"), np.searchsorted(known, steps, side="left")
    pairs = [precision_and_coverage(int(t), int(f), len(novel)) for t, f in zip(n_true, n_false, strict=True)]
    return pd.DataFrame(
        {
            "threshold": steps,
            "n_true": n_true,
            "n_false": n_false,
            "precision": [precision for precision, _ in pairs],
            "coverage": [coverage for _, coverage in pairs],
        }
    )
