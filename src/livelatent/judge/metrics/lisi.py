"""Local inverse Simpson's index: how many labels or batches a cell's neighbourhood holds, in effect."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.bisection import bisected
from livelatent.judge.metrics.knn_graph import KnnGraph

__all__ = ["clisi", "ilisi", "lisi"]

CHUNK_CELLS = 4096
BISECTIONS = 50
TOLERANCE = 1e-5


def ilisi(graph: KnnGraph, batch: Int[ndarray, " cell"]) -> float:
    """(median LISI - 1) / (batches - 1): 0 where neighbours are of one batch, 1 where all batches mix evenly.

    Raises
    ------
    UndefinedMetricError
        If there is one batch.
    """
    n_batches = len(np.unique(batch))
    if n_batches < 2:
        raise UndefinedMetricError(f"iLISI compares batches, so it needs at least 2; got {n_batches}.")
    return float((np.median(lisi(graph, batch)) - 1) / (n_batches - 1))


def clisi(graph: KnnGraph, label: Int[ndarray, " cell"]) -> float:
    """(labels - median LISI) / (labels - 1): 1 where neighbours are of one label.

    Raises
    ------
    UndefinedMetricError
        If there is one label.
    """
    n_labels = len(np.unique(label))
    if n_labels < 2:
        raise UndefinedMetricError(f"cLISI compares labels, so it needs at least 2; got {n_labels}.")
    return float((n_labels - np.median(lisi(graph, label))) / (n_labels - 1))


def lisi(graph: KnnGraph, group: Int[ndarray, " cell"], perplexity: float | None = None) -> Float[ndarray, " cell"]:
    """Inverse Simpson's index of the groups among each cell's neighbours, in 1 to the number of groups.

    Parameters
    ----------
    perplexity
        Effective number of neighbours; None: a third of the graph's, rounded down.

    Notes
    -----
    Korsunsky et al. (2019), as scib-metrics has it: a neighbour at distance d weighs exp(-beta d), not d^2, and beta
    gives the weights the entropy log(perplexity). Weights are taken relative to the nearest neighbour's, which changes
    neither: far from the origin of the exponential, where every weight would underflow, scib-metrics puts -1 for the
    index. Where all neighbours are equally far no beta has that entropy, and they weigh the same.
    """
    _, group = np.unique(group, return_inverse=True)
    n_groups = int(group.max()) + 1
    entropy = np.log(max(graph.n_neighbors // 3, 1) if perplexity is None else perplexity)
    simpson = np.empty(graph.n_cells)
    for start in range(0, graph.n_cells, CHUNK_CELLS):
        here = slice(start, start + CHUNK_CELLS)
        weight = _weights(np.asarray(graph.distance[here, 1:], np.float64), float(entropy))
        cell, neighbor = np.arange(len(weight)), group[graph.index[here, 1:]]
        flat = (cell[:, None] * n_groups + neighbor).ravel()
        share = np.bincount(flat, weight.ravel(), len(weight) * n_groups).reshape(-1, n_groups)
        simpson[here] = (share**2).sum(axis=1)
    return 1 / simpson


def _weights(distance: Float[ndarray, "cell neighbor"], entropy: float) -> Float[ndarray, "cell neighbor"]:
    """Weights of sum 1 and the wanted entropy, by bisection of beta."""
    beyond = distance - distance[:, :1]
    is_flat = beyond[:, -1] == 0

    def less_entropy(beta: Float[ndarray, " cell"]) -> Float[ndarray, " cell"]:
        weight = np.exp(-beyond * beta[:, None])
        total = weight.sum(axis=1)
        return np.asarray(-np.log(total) - beta * (beyond * weight).sum(axis=1) / total)

    beta = bisected(less_entropy, ~is_flat, -entropy, tolerance=TOLERANCE, steps=BISECTIONS)
    weight = np.exp(-beyond * beta[:, None])
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
