"""How well cells are named, and how an embedding of them groups types and mixes batches."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.metrics.clustering import RESOLUTIONS, best_clustering, leiden
from livelatent.judge.metrics.fuzzy_graph import fuzzy_graph
from livelatent.judge.metrics.integration import CLUSTER_NEIGHBORS, scored_cells
from livelatent.judge.metrics.knn_graph import knn_graph
from livelatent.judge.metrics.lisi import ilisi
from livelatent.threads import one_thread

__all__ = ["annotation_scores", "embedding_scores"]

EMBEDDING_CELLS = 5_000


def annotation_scores(label: Int[ndarray, " cell"], predicted: Int[ndarray, " cell"]) -> dict[str, float]:
    """Accuracy, balanced accuracy and macro-F1 over the types that are there.

    Notes
    -----
    A type that is predicted but absent costs accuracy, and the recall of the types it is taken for; it has no F1 of
    its own.
    """
    from sklearn.metrics import f1_score, recall_score

    there = np.unique(label)
    return {
        "accuracy": float(np.mean(label == predicted)),
        "balanced_accuracy": float(recall_score(label, predicted, labels=there, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(label, predicted, labels=there, average="macro", zero_division=0)),
    }


def embedding_scores(
    latent: Float[ndarray, "cell dim"],
    label: Int[ndarray, " cell"],
    batch: Int[ndarray, " cell"],
    *,
    max_cells: int = EMBEDDING_CELLS,
    seed: int = 0,
) -> dict[str, float | None]:
    """NMI and ARI of Leiden's clusters with the types, and iLISI of the batches (None: there is one batch).

    Notes
    -----
    The metrics of `judge/metrics`, of a sample of the cells where there are more.
    """
    chosen = scored_cells(label, max_cells, seed=seed)
    points = np.ascontiguousarray(latent[chosen], np.float32)
    with one_thread():
        graph = knn_graph(points)
        links = fuzzy_graph(graph.first(CLUSTER_NEIGHBORS))
        found = best_clustering(
            [leiden(links, resolution, seed=seed) for resolution in RESOLUTIONS], label[chosen], RESOLUTIONS
        )
        has_batches = len(np.unique(batch[chosen])) > 1
        mixed = ilisi(graph, batch[chosen]) if has_batches else None
    return {"nmi": found.nmi, "ari": found.ari, "ilisi": mixed}
