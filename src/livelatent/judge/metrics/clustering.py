"""NMI and ARI of the labels with the Leiden clustering that agrees with them best."""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Int, ndarray

__all__ = ["RESOLUTIONS", "BestClustering", "best_clustering", "leiden"]

RESOLUTIONS = tuple(round(0.1 * step, 1) for step in range(1, 21))
"""0.1 to 2 in steps of 0.1, as scib has them; scib-metrics tries every second one."""
N_ITERATIONS = 2
_generator = threading.Lock()


@dataclass(frozen=True)
class BestClustering:
    """The clustering of highest NMI, and how well it agrees with the labels."""

    resolution: float
    cluster: Int[ndarray, " cell"]
    nmi: float
    """Normalised by the arithmetic mean of both entropies."""
    ari: float
    """Of the same clustering; another may have a higher one."""


def leiden(links: sp.csr_matrix, resolution: float, *, seed: int = 0) -> Int[ndarray, " cell"]:
    """Clusters of a symmetric weighted graph, by modularity with a resolution.

    Notes
    -----
    igraph's own Leiden, because scib-metrics uses it and it takes a fraction of leidenalg's time: all 20 resolutions
    are tried for every latent. igraph has one generator for the whole process; here it is a private one, and
    afterwards Python's `random`, igraph's default, again. Every link is entered in both directions, as there: the
    optimum is the same, and so are the random choices on the way, hence the clusters.
    """
    import igraph

    both = links.tocoo()
    graph = igraph.Graph(n=links.shape[0], edges=np.stack([both.row, both.col], axis=1))
    with _generator:
        igraph.set_random_number_generator(random.Random(seed))
        try:
            found = graph.community_leiden(
                objective_function="modularity",
                weights=both.data.tolist(),
                resolution=resolution,
                n_iterations=N_ITERATIONS,
            )
        finally:
            igraph.set_random_number_generator(random)
    return np.array(found.membership, np.int64)


def best_clustering(
    clusterings: Sequence[Int[ndarray, " cell"]], label: Int[ndarray, " cell"], resolutions: Sequence[float]
) -> BestClustering:
    """Which of some clusterings agrees best with the labels by NMI; the first where several tie."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    nmi = [float(normalized_mutual_info_score(label, cluster)) for cluster in clusterings]
    best = int(np.argmax(nmi))
    ari = float(adjusted_rand_score(label, clusterings[best]))
    return BestClustering(float(resolutions[best]), clusterings[best], nmi[best], ari)
