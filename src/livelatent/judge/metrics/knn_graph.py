"""The one graph that the metrics share: every cell's nearest cells, found once."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.neighbors import nearest

__all__ = ["N_NEIGHBORS", "KnnGraph", "knn_graph"]

# LISI looks at 90 cells, Leiden and graph connectivity at 15, each cell counted among its own, as in scib-metrics.
N_NEIGHBORS = 90


@dataclass(frozen=True)
class KnnGraph:
    """Nearest cells of each cell, nearest first; the first is the cell itself."""

    index: Int[ndarray, "cell k"]
    distance: Float[ndarray, "cell k"]

    @property
    def n_cells(self) -> int:
        """Cells."""
        return len(self.index)

    @property
    def n_neighbors(self) -> int:
        """Neighbours of a cell, itself among them."""
        return int(self.index.shape[1])

    def first(self, n_neighbors: int) -> "KnnGraph":
        """The same with fewer neighbours, or with all where it has no more."""
        return KnnGraph(self.index[:, :n_neighbors], self.distance[:, :n_neighbors])


def knn_graph(points: Float[ndarray, "cell dim"], n_neighbors: int = N_NEIGHBORS) -> KnnGraph:
    """Exact Euclidean neighbours; as many as there are cells where these are fewer.

    Notes
    -----
    Exact, where scib-metrics asks pynndescent. A cell is always its own first neighbour, also beside another that
    lies on the same point: exact searches put either first.
    """
    n_cells = len(points)
    own = np.arange(n_cells)
    n_others = min(n_neighbors, n_cells) - 1
    if n_others < 1:
        return KnnGraph(own[:, None], np.zeros((n_cells, 1), np.float32))
    distance, index = nearest(np.asarray(points, np.float32), np.asarray(points, np.float32), n_others, own=own)
    return KnnGraph(
        np.concatenate([own[:, None], index], axis=1),
        np.concatenate([np.zeros((n_cells, 1), distance.dtype), distance], axis=1),
    )
