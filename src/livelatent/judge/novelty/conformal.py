"""Split-conformal p-values: how many known cells, unseen in training, look at least as strange."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, ndarray

__all__ = ["Conformal", "conformal_p"]


def conformal_p(score: Float[ndarray, " cell"], calibration: Float[ndarray, " calibration"]) -> Float[ndarray, " cell"]:
    """(1 + number of calibration cells with a score as large) / (n + 1).

    Examples
    --------
    >>> conformal_p(np.array([0.5, 9.0]), np.array([0.0, 1.0, 2.0]))
    array([0.75, 0.25])
    """
    ordered = np.sort(calibration)
    as_large = len(ordered) - np.searchsorted(ordered, score, side="left")
    return (1 + as_large) / (len(ordered) + 1)


@dataclass(frozen=True)
class Conformal:
    """The calibration cells' scores, and how several scores become one p-value.

    Notes
    -----
    T = - sum of log p_i (Fisher), and the p-value is the conformal p of T on the same calibration cells. Their own
    p_i are ranks among the n of them, a new cell's are ranks among the n + 1 that it makes with them: each is judged
    within the set it belongs to. Conformal p-values of outliers: Bates, Candès, Lei, Romano and Sesia (Annals of
    Statistics 2023).
    """

    scores: Float[ndarray, "score calibration"]

    @property
    def n_cells(self) -> int:
        """How many cells it was calibrated on; no p-value is below 1 / (n_cells + 1)."""
        return int(self.scores.shape[1])

    @property
    def total(self) -> Float[ndarray, " calibration"]:
        """T of the calibration cells."""
        n = self.n_cells
        ranks = [(conformal_p(row, row) * (n + 1) - 1) / n for row in self.scores]
        return -np.log(ranks).sum(axis=0)

    @property
    def p_value(self) -> Float[ndarray, " calibration"]:
        """That of T of the calibration cells, each among all of them."""
        return conformal_p(self.total, self.total)

    def combine(self, scores: Float[ndarray, "score cell"]) -> tuple[Float[ndarray, " cell"], Float[ndarray, " cell"]]:
        """T and its p-value for new cells."""
        total = -np.log([conformal_p(new, known) for new, known in zip(scores, self.scores, strict=True)]).sum(axis=0)
        return total, conformal_p(total, self.total)
