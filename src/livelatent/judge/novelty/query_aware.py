"""A score that looks at the query as a whole: where is it denser than the reference?"""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.projection import principal_vectors

__all__ = ["joint_components", "query_aware_scores"]

N_COMPONENTS = 50
N_FOLDS = 5
# The regression is fitted on at most so many cells of each side; the others are scored by it all the same.
FITTED_CELLS = 50_000


def joint_components(parts: list[sp.csr_matrix]) -> list[Float[ndarray, "cell component"]]:
    """Principal components of all cells of all parts together, each part projected; cells are rows."""
    n_components = min(N_COMPONENTS, sum(part.shape[0] for part in parts), parts[0].shape[1])
    mean, vectors = principal_vectors(parts, n_components)
    return [np.asarray(part @ vectors - mean @ vectors, np.float64) for part in parts]


def query_aware_scores(
    reference: Float[ndarray, "reference component"], asked: Float[ndarray, "asked component"], *, seed: int = 0
) -> Float[ndarray, " asked"]:
    """Out-of-fold log odds of being asked about against being of the reference; larger is stranger.

    Parameters
    ----------
    asked
        Calibration and query cells together, in any order: the regression must not know which is which, or their
        scores could not be compared.

    Notes
    -----
    The idea of AdaDetect (Marandon, Lei, Mary and Roquain, Annals of Statistics 2024): a logistic regression, C .1,
    classes balanced. Known cells of the query and calibration cells are alike to it, so the calibration cells' scores
    are what known cells of the query would get; new cells are where the asked are denser than the reference. Components
    are scaled by one number, which keeps their relative sizes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    scale = max(float(np.concatenate([reference, asked]).std()), 1e-12)
    fold, fold_reference = _folds(len(asked), rng), _folds(len(reference), rng)
    n_folds = min(N_FOLDS, len(asked), len(reference))
    scores = np.zeros(len(asked))
    for held in range(n_folds):
        sides: list[Any] = []
        for points, of in ((reference, fold_reference), (asked, fold)):
            own = np.flatnonzero(of % n_folds != held)
            sides.append(points[rng.choice(own, min(len(own), FITTED_CELLS), replace=False)] / scale)
        if not all(len(side) for side in sides):
            continue
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=200)
        with warnings.catch_warnings():
            # A looser optimum ranks the same: calibration and query cells share it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(np.concatenate(sides), np.repeat([0, 1], [len(side) for side in sides]))
        out = fold % n_folds == held
        scores[out] = model.decision_function(asked[out] / scale)
    return scores


def _folds(n_cells: int, rng: np.random.Generator) -> Int[ndarray, " cell"]:
    """A fold for each cell, at random and as even as can be."""
    return np.asarray(rng.permutation(n_cells) % N_FOLDS)
