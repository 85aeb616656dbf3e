"""What scib-metrics says of `mixed_latent`, as JSON. JAX stays out of the tests' own process: it warns of every fork.

`PYTHONPATH=tests python tests/judge/metrics/scib_oracle.py > tests/judge/metrics/scib_metrics.json` writes what the
default tests compare with; a slow test runs it anew.
"""

import importlib.metadata
import json

import numpy as np
import scib_metrics
from scib_metrics.nearest_neighbors import NeighborsResults
from sklearn.neighbors import NearestNeighbors

from latents import mixed_latent

VERSIONED = ("scib-metrics", "jax", "igraph", "numpy", "umap-learn", "pynndescent")


class BothWays:
    """A kNN graph whose links can be followed both ways."""

    def __init__(self, graph: NeighborsResults) -> None:
        one_way = graph.knn_graph_distances.copy()
        one_way.data[:] = 1
        self.knn_graph_distances = one_way.maximum(one_way.T).tocsr()


def main() -> None:
    latent, label, batch, before = mixed_latent()
    distance, index = NearestNeighbors(n_neighbors=90).fit(latent).kneighbors(latent)
    assert (index[:, 0] == np.arange(len(latent))).all()
    graph = NeighborsResults(indices=index, distances=distance.astype(np.float32))
    near, wider = graph.subset_neighbors(15), graph.subset_neighbors(50)
    links = near.knn_graph_connectivities.tocsr()
    clustered = scib_metrics.nmi_ari_cluster_labels_leiden(near, label, seed=7)
    values = {
        "nmi": clustered["nmi"],
        "ari": clustered["ari"],
        "silhouette_label": scib_metrics.silhouette_label(latent, label),
        "silhouette_batch": scib_metrics.silhouette_batch(latent, label, batch),
        "isolated_asw": scib_metrics.isolated_labels(latent, label, batch),
        "pcr": scib_metrics.pcr_comparison(before, latent, batch, categorical=True),
        "graph_connectivity": scib_metrics.graph_connectivity(BothWays(near), label),
        "graph_connectivity_of_3": scib_metrics.graph_connectivity(BothWays(graph.subset_neighbors(3)), label),
        "graph_connectivity_one_way": scib_metrics.graph_connectivity(near, label),
        "ilisi": scib_metrics.ilisi_knn(graph, batch),
        "clisi": scib_metrics.clisi_knn(graph, label),
        "kbet": scib_metrics.kbet_per_label(wider, batch, label),
        "kbet_of_all_labels": scib_metrics.kbet(wider, batch)[0],
        "links_sum": links.sum(),
        "links_of_first_cells": np.ravel(links[:5].sum(axis=1)),
    }
    values = {name: np.asarray(value, np.float64).tolist() for name, value in values.items()}
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    print(json.dumps({"versions": versions, "values": values}, indent=1))


if __name__ == "__main__":
    main()
