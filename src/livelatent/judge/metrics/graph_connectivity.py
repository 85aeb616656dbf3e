"""Whether the cells of a label hang together in the kNN graph."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from livelatent.arrays import Int, ndarray
from livelatent.judge.metrics.knn_graph import KnnGraph

__all__ = ["graph_connectivity"]


def graph_connectivity(graph: KnnGraph, label: Int[ndarray, " cell"]) -> float:
    """Mean over labels of the share of their cells in the label's largest connected piece (equation 2.28).

    Notes
    -----
    Two cells are linked where either is among the other's neighbours, as in scib. scib-metrics follows links one way
    only (strong components): a cell that is nobody's neighbour is then a piece of its own, however close it lies.
    """
    n_cells, k = graph.index.shape
    links = sp.csr_matrix((np.ones(n_cells * k), graph.index.ravel(), np.arange(0, n_cells * k + 1, k)), (n_cells,) * 2)
    shares = []
    for code in np.unique(label):
        own = np.flatnonzero(label == code)
        _, piece = connected_components(links[own][:, own], directed=True, connection="weak")
        shares.append(np.bincount(piece).max() / len(own))
    return float(np.mean(shares))
