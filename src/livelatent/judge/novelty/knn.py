"""Score 1: how far the nearest labelled cells are, for the type that the cell looks like."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.neighbors import mean_distance, unit

__all__ = ["KnnScore", "fit_knn", "knn_without_own_batch"]

NEIGHBORS = 10
# The median of a type's own distances needs no more cells than this.
SCALE_CELLS = 1000


@dataclass(frozen=True)
class KnnScore:
    """Mean distance to the 10 nearest reference cells, over what is usual for a type."""

    latent: Float[ndarray, "reference latent"]
    """Unit length."""
    scale: Float[ndarray, " label"]

    def score(self, latent: Float[ndarray, "cell latent"], predicted: Int[ndarray, " cell"]) -> Float[ndarray, " cell"]:
        """Larger is stranger; `predicted` names the type whose usual distance is divided by."""
        return np.asarray(mean_distance(unit(latent), self.latent, NEIGHBORS) / self.scale[predicted])


def fit_knn(
    latent: Float[ndarray, "reference latent"],
    label: Int[ndarray, " reference"],
    n_labels: int,
    *,
    seed: int = 0,
) -> KnnScore:
    """The reference, and each type's median distance to its own 10 neighbours among all reference cells.

    Notes
    -----
    A type with fewer than three cells has no median worth the name and takes that of all cells, as does one whose
    cells coincide.
    """
    reference = unit(latent)
    if len(reference) == 1:
        return KnnScore(reference, np.ones(n_labels))
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(own, min(len(own), SCALE_CELLS), replace=False)
        for own in (np.flatnonzero(label == code) for code in range(n_labels))
    ]
    cells = np.concatenate(chosen)
    distance = mean_distance(reference[cells], reference, NEIGHBORS, own=cells)
    common = float(np.median(distance))
    common = common if common > 0 else 1.0
    scale = np.full(n_labels, common)
    for code in range(n_labels):
        own = distance[label[cells] == code]
        if len(own) >= 3 and np.median(own) > 1e-3 * common:
            scale[code] = np.median(own)
    return KnnScore(reference, scale)


def knn_without_own_batch(
    points: Float[ndarray, "reference dim"],
    label: Int[ndarray, " reference"],
    fold: Int[ndarray, " reference"],
    asked: Float[ndarray, "calibration dim"],
    predicted: Int[ndarray, " calibration"],
    asked_fold: Int[ndarray, " calibration"],
    *,
    seed: int = 0,
) -> Float[ndarray, " calibration"]:
    """Score 1 of each calibration cell from reference cells of other folds (groups of batches); NaN in fold -1."""
    scores = np.full(len(asked), np.nan)
    n_labels = int(max(label.max(initial=-1), predicted.max(initial=-1))) + 1
    for held in np.unique(asked_fold[asked_fold >= 0]):
        rest, out = fold != held, np.flatnonzero(asked_fold == held)
        scores[out] = fit_knn(points[rest], label[rest], n_labels, seed=seed).score(asked[out], predicted[out])
    return scores
