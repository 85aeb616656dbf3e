"""The weighted graph that is clustered: UMAP's fuzzy union of the cells' neighbourhoods."""

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, ndarray
from livelatent.judge.metrics.bisection import bisected
from livelatent.judge.metrics.knn_graph import KnnGraph

__all__ = ["fuzzy_graph"]

BISECTIONS = 64
TOLERANCE = 1e-5
# The narrowest bandwidth, as a share of the mean distance.
NARROWEST = 1e-3


def fuzzy_graph(graph: KnnGraph) -> sp.csr_matrix:
    """How strongly each pair of cells is linked, in 0 to 1, symmetric; no cell is linked to itself.

    Notes
    -----
    Section 3.1 and algorithms 2 and 3 of [1]_ with the constants of umap-learn, as scanpy and scib use them: equal to
    `umap.umap_.fuzzy_simplicial_set` to float32's rounding. Here it is a page of numpy, because umap-learn compiles
    for seconds in every process.

    References
    ----------
    .. [1] McInnes, Healy, Melville (2018), UMAP, arXiv:1802.03426.
    """
    distance = np.asarray(graph.distance, np.float64)
    nearest = _nearest_apart(distance)
    beyond = np.maximum(distance - nearest[:, None], 0)
    width = _bandwidth(distance, nearest)
    strength = np.ones_like(beyond)
    np.divide(-beyond, width[:, None], out=strength, where=beyond > 0)
    strength = np.where(beyond > 0, np.exp(strength), 1.0)
    strength[:, 0] = 0  # a cell's own
    n_cells, k = distance.shape
    directed = sp.csr_matrix((strength.ravel(), graph.index.ravel(), np.arange(0, n_cells * k + 1, k)), (n_cells,) * 2)
    directed.eliminate_zeros()
    both = directed.multiply(directed.T)
    return sp.csr_matrix(directed + directed.T - both)


def _nearest_apart(distance: Float[ndarray, "cell k"]) -> Float[ndarray, " cell"]:
    """Distance to the nearest cell that lies elsewhere; 0 where all lie on one point."""
    apart = np.where(distance > 0, distance, np.inf).min(axis=1)
    return np.where(np.isfinite(apart), apart, 0.0)


def _bandwidth(distance: Float[ndarray, "cell k"], nearest: Float[ndarray, " cell"]) -> Float[ndarray, " cell"]:
    """The width at which a cell's strengths add up to log2 of its number of neighbours."""
    beyond = np.maximum(distance[:, 1:] - nearest[:, None], 0)
    width = bisected(
        lambda width: np.exp(-beyond / width[:, None]).sum(axis=1),
        np.ones(len(distance), bool),
        np.log2(distance.shape[1]),
        tolerance=TOLERANCE,
        steps=BISECTIONS,
    )
    narrowest = NARROWEST * np.where(nearest > 0, distance.mean(axis=1), distance.mean())
    # Where all lie on one point nothing is beyond the nearest, and any positive width does.
    return np.asarray(np.maximum(np.maximum(width, narrowest), np.finfo(np.float64).tiny))
