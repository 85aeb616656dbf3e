"""Score 2: distance to the nearest type's mean, in units of how cells vary within types."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray

__all__ = ["MahalanobisScore", "fit_mahalanobis"]


@dataclass(frozen=True)
class MahalanobisScore:
    """Smallest Mahalanobis distance to a type's mean, one covariance for all types."""

    mean: Float[ndarray, "label component"]
    """NaN for a type without a cell."""
    whiten: Float[ndarray, "component white"]
    """x @ whiten has unit covariance within types."""

    def score(self, pcs: Float[ndarray, "cell component"]) -> Float[ndarray, " cell"]:
        """To the nearest type's mean: larger is stranger."""
        smallest = np.full(len(pcs), np.inf)
        for _, distance in self._by_type(pcs):
            np.minimum(smallest, distance, out=smallest)
        return smallest

    def distances(self, pcs: Float[ndarray, "cell component"]) -> Float[ndarray, "cell label"]:
        """To every type's mean; infinite to a type without a cell."""
        every = np.full((len(pcs), len(self.mean)), np.inf)
        for code, distance in self._by_type(pcs):
            every[:, code] = distance
        return every

    def _by_type(self, pcs: Float[ndarray, "cell component"]) -> Iterator[tuple[int, Float[ndarray, " cell"]]]:
        """One type after the other: neither cells x types nor that times components is held for the smallest."""
        white = pcs.astype(np.float64) @ self.whiten
        for code in np.flatnonzero(~np.isnan(self.mean[:, 0])):
            yield int(code), np.linalg.norm(white - self.mean[code] @ self.whiten, axis=1)


def fit_mahalanobis(
    pcs: Float[ndarray, "reference component"], label: Int[ndarray, " reference"], n_labels: int
) -> MahalanobisScore:
    """Means per type, and the pooled Ledoit-Wolf covariance of the cells around them.

    Notes
    -----
    A type with one cell lies on its own mean, and so would shrink the covariance without telling anything: it gives
    a mean only. Where no type has two cells, the spread around the mean of all cells is used; a single cell has
    none, and distances are plain.
    """
    from sklearn.covariance import ledoit_wolf

    pcs = pcs.astype(np.float64)
    count = np.bincount(label, minlength=n_labels)
    mean = np.full((n_labels, pcs.shape[1]), np.nan)
    for code in np.flatnonzero(count):
        mean[code] = pcs[label == code].mean(axis=0)
    repeated = count[label] > 1
    around = (pcs - mean[label])[repeated] if repeated.any() else pcs - pcs.mean(axis=0)
    if len(around) < 2:
        return MahalanobisScore(mean, np.eye(pcs.shape[1]))
    covariance, _ = ledoit_wolf(around, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    # Shrinkage keeps them positive unless all cells coincide; the floor is far below any real spread.
    values = np.maximum(values, max(1e-9 * values.max(), 1e-12))
    return MahalanobisScore(mean, vectors / np.sqrt(values))
