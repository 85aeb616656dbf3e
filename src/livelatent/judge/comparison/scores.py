"""How well cells are named, and how an embedding of them groups types and mixes batches."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.judge.cluster import shared_neighbour_links

__all__ = ["annotation_scores", "embedding_scores"]

# METHODS.md, section 1: the clustering that maximises NMI, over resolutions between .1 and 2.
RESOLUTIONS = (0.1, 0.2, 0.4, 0.7, 1.0, 1.4, 2.0)
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
    """NMI and ARI of Leiden's clusters with the types, and iLISI of the batches (None: not built yet).

    Notes
    -----
    Of more cells a random sample is judged. ARI is of the clustering whose NMI is greatest, as METHODS.md has it.
    """
    import igraph
    import leidenalg
    import scipy.sparse as sp
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if len(latent) > max_cells:
        chosen = np.sort(np.random.default_rng(seed).choice(len(latent), max_cells, replace=False))
        latent, label = latent[chosen], label[chosen]
    upper = sp.triu(shared_neighbour_links(np.asarray(latent, np.float32)), k=1).tocoo()
    graph = igraph.Graph(n=len(latent), edges=np.stack([upper.row, upper.col], axis=1))
    best, found = -1.0, np.zeros(len(latent), np.int64)
    for resolution in RESOLUTIONS:
        clusters = leidenalg.find_partition(
            graph,
            leidenalg.RBConfigurationVertexPartition,
            weights=upper.data.tolist(),
            resolution_parameter=resolution,
            seed=seed,
        ).membership
        nmi = float(normalized_mutual_info_score(label, clusters))
        if nmi > best:
            best, found = nmi, np.array(clusters, np.int64)
    return {"nmi": best, "ari": float(adjusted_rand_score(label, found)), "ilisi": None}
