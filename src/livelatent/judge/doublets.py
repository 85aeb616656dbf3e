"""How much cells look like two cells in one droplet."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.neighbors import nearest
from livelatent.judge.projection import Projection

__all__ = ["Doublets", "fit_doublets"]

REAL_CELLS = 4_000
NEIGHBORS = 50


@dataclass(frozen=True)
class Doublets:
    """Real cells and as many pairs of them added up, in the same principal components."""

    points: Float[ndarray, "point component"]
    """Made ones first."""
    parents: Int[ndarray, "made two"]
    """Labels of the two cells in each made one, the smaller first."""

    def score(self, pcs: Float[ndarray, "cell component"]) -> Float[ndarray, " cell"]:
        """Share of made cells among the nearest 50; .5 where nothing tells real from made."""
        return self._nearest_is_made(pcs)[0].mean(axis=1)

    def likely_parents(self, pcs: Float[ndarray, "cell component"]) -> tuple[int, int] | None:
        """The pair of two types that made cells near these were most often made of; None without any near."""
        is_made, index = self._nearest_is_made(pcs)
        pairs = self.parents[index[is_made]]
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if not len(pairs):
            return None
        distinct, count = np.unique(pairs, axis=0, return_counts=True)
        first, second = distinct[np.argmax(count)]
        return int(first), int(second)

    def _nearest_is_made(self, pcs: Float[ndarray, "cell component"]) -> tuple[ndarray, ndarray]:
        k = min(NEIGHBORS, len(self.points))
        _, index = nearest(pcs, self.points, k)
        return index < len(self.parents), index


def fit_doublets(
    x: sp.csr_matrix,
    total: Float[ndarray, " cell"],
    label: Int[ndarray, " cell"],
    projection: Projection,
    *,
    seed: int = 0,
) -> Doublets:
    """Add pairs of cells up, and keep them beside the cells they were made of.

    Parameters
    ----------
    x
        log1p(count * mean total / total) of labelled cells and the projection's genes.
    total
        Of the same cells: a pair is a mean weighted by it.

    Notes
    -----
    The idea of Scrublet [1]_, without its estimate of a rate: only whether a cluster scores higher than known cells do
    is asked here. A cell of a type that lies between two known ones scores high too, which is why a flag is called
    doublets only if its cells are also deeper than those types'.

    .. [1] Wolock, Lopez and Klein, "Scrublet", Cell Systems 8 (2019).
    """
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.choice(x.shape[0], min(x.shape[0], REAL_CELLS), replace=False))
    x, total, label = x[cells], np.asarray(total, np.float64)[cells], label[cells]
    first, second = rng.integers(len(cells), size=(2, len(cells)))
    plain = x.copy()
    plain.data = np.expm1(plain.data)
    share = total[first] / np.maximum(total[first] + total[second], 1e-12)
    made = sp.csr_matrix(sp.diags(share) @ plain[first] + sp.diags(1 - share) @ plain[second])
    made.data = np.log1p(made.data)
    points = np.concatenate([projection(made), projection(x)])
    return Doublets(points, np.sort(np.stack([label[first], label[second]], axis=1), axis=1).astype(np.int64))
