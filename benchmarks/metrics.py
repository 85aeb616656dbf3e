"""What the metrics say of PCA, what scib-metrics says of the same, and the CPU seconds of both.

`python benchmarks/metrics.py DATA.h5ad --label cell_type --batch batch [--cycle SETS.gmt] [--scib] [--json]`
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import livelatent as ll
from livelatent.judge.metrics.unintegrated import unintegrated


def scib_scores(pcs, label, batch, seed):
    """The settings that livelatent takes too; of graph connectivity scib-metrics' own."""
    import scib_metrics
    from scib_metrics.nearest_neighbors import pynndescent

    graph = pynndescent(pcs, n_neighbors=90)
    near = graph.subset_neighbors(15)
    clustered = scib_metrics.nmi_ari_cluster_labels_leiden(near, label, seed=seed)
    return {
        "silhouette_label": scib_metrics.silhouette_label(pcs, label),
        "nmi": clustered["nmi"],
        "ari": clustered["ari"],
        "isolated_asw": scib_metrics.isolated_labels(pcs, label, batch),
        "silhouette_batch": scib_metrics.silhouette_batch(pcs, label, batch),
        "graph_connectivity": scib_metrics.graph_connectivity(near, label),
        "ilisi": scib_metrics.ilisi_knn(graph, batch),
        "clisi": scib_metrics.clisi_knn(graph, label),
        "kbet": scib_metrics.kbet_per_label(graph.subset_neighbors(50), batch, label),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--label", default="cell_type")
    parser.add_argument("--batch", default="batch")
    parser.add_argument("--cycle", type=Path)
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--scib", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        atlas = ll.ingest(args.data, Path(folder) / "atlas.zarr", label=args.label, batch=args.batch, progress=False)
        rows = atlas.rows(labelled=True)
        start = time.process_time()
        before = unintegrated(atlas, rows, cell_cycle=args.cycle)
        cpu = {"unintegrated": time.process_time() - start}
        label, batch = np.array(atlas.label_names, object)[atlas.label[rows]], atlas.batch[rows]
        start = time.process_time()
        ours = ll.score_latent(before.pcs, label, batch, before=before, max_cells=args.cells)
        cpu["livelatent"] = time.process_time() - start
        result = {"n_cells": ours.n_cells, "livelatent": ours.values, "left_out": ours.left_out}
        if args.scib:
            start = time.process_time()
            scores = scib_scores(before.pcs, label.astype(str), batch, seed=0)
            cpu["scib-metrics"] = time.process_time() - start
            result["scib-metrics"] = {name: float(value) for name, value in scores.items()}
    result["cpu_s"] = cpu
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in ours.values.items():
        print(f"{name:20} {value:8.4f} {result.get('scib-metrics', {}).get(name, float('nan')):8.4f}")
    print("CPU s:", ", ".join(f"{name} {seconds:.1f}" for name, seconds in cpu.items()), f"; {ours.n_cells:,} cells")


if __name__ == "__main__":
    main()
