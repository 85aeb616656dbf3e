"""Which known types would hardly be found if they were new: where subtypes make detection weak."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.novelty.conformal import conformal_p
from livelatent.judge.novelty.mahalanobis import MahalanobisScore

__all__ = ["WeakTypes", "weak_types"]

TARGET_FPR = 0.05
# Fewer cells than this tell no share.
MIN_CELLS = 10
# More cells of a type than this add nothing to a share.
MOST_CELLS = 500
WEAK = 0.5


@dataclass(frozen=True)
class WeakTypes:
    """Each known type, left out in turn."""

    found: Float[ndarray, " label"]
    """Share of its training cells that would be flagged at 5 %, were the type new; NaN below ten cells."""
    nearest: Int[ndarray, " label"]
    """The type that most of its cells would then be nearest to; -1 where there is none."""

    @property
    def hardest(self) -> list[int]:
        """Codes of the types of which less than half would be found, weakest first."""
        order = np.argsort(self.found, kind="stable")
        return [int(code) for code in order if self.found[code] < WEAK]


def weak_types(
    score: MahalanobisScore,
    pcs: Float[ndarray, "reference component"],
    label: Int[ndarray, " reference"],
    calibration_pcs: Float[ndarray, "calibration component"],
    calibration_label: Int[ndarray, " calibration"],
    *,
    seed: int = 0,
) -> WeakTypes:
    """Score 2 of every type's cells and of the others' calibration cells, without that type's mean.

    Notes
    -----
    The cheap form: one matrix of distances serves all types, since leaving a type out takes away a column. Components
    and covariance have seen the type, and scores 1 and 3 are not asked, so this says which types are hard, not how many
    cells will be found; how well it says so: `benchmarks/RESULTS.md`.
    """
    rng = np.random.default_rng(seed)
    n_labels = len(score.mean)
    found, nearest = np.full(n_labels, np.nan), np.full(n_labels, -1, np.int64)
    known = score.distances(calibration_pcs)
    for code in np.unique(label):
        own = np.flatnonzero(label == code)
        others = known[calibration_label != code]
        if len(own) < MIN_CELLS or not len(others) or (~np.isnan(score.mean[:, 0])).sum() < 2:
            continue
        distance = score.distances(pcs[rng.choice(own, min(len(own), MOST_CELLS), replace=False)])
        distance[:, code] = np.inf
        calibration = np.delete(others, code, axis=1).min(axis=1)
        found[code] = (conformal_p(distance.min(axis=1), calibration) <= TARGET_FPR).mean()
        nearest[code] = np.bincount(distance.argmin(axis=1), minlength=n_labels).argmax()
    return WeakTypes(found, nearest)
