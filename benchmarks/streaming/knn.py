"""What a model learns from the stream, beside one that sees all cells fully shuffled."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import mean
from typing import Any
from unittest.mock import patch

import numpy as np

from streaming.atlases import BATCH, LABEL, Bench
from streaming.process import measured

KANG = Path(__file__).parents[3] / "shared" / "data" / "kang_pbmc_ctrl.h5ad"
SEEDS = range(4)
"""Seed s holds out donors 2s and 2s + 1 of eight, so that each is held out once."""
MINIBATCH, BUFFER, BLOCK = 256, 2_048, 512
"""A buffer of eight minibatches, a fifth of the training cells: the data must not fit in it."""
EPOCHS, NEIGHBORS = 20, 15


def figures(bench: Bench) -> dict[str, Any]:
    """The difference of the means over seeds; None where the data are not at hand."""
    if not KANG.exists():
        return {"knn_gap": None, "knn": {"why": f"{KANG} is not there"}}
    store = bench.work / "kang-by-donor.zarr"
    if not store.exists():
        measured("sorted_store", target=store)
    epochs = 2 if bench.is_quick else EPOCHS
    runs = [
        {"seed": seed, "order": order} | measured("accuracy", store=store, order=order, seed=seed, epochs=epochs)
        for seed in SEEDS
        for order in ("stream", "full shuffle")
    ]
    means = {
        order: {
            what: round(mean(run[what] for run in runs if run["order"] == order), 4)
            for what in ("knn_accuracy", "balanced_accuracy")
        }
        for order in ("stream", "full shuffle")
    }
    gap = abs(means["stream"]["knn_accuracy"] - means["full shuffle"]["knn_accuracy"])
    return {"knn_gap": round(gap, 4), "knn": {"epochs": epochs, "means": means, "runs": runs}}


def sorted_store(target: str) -> dict[str, Any]:
    """Kang, its cells donor by donor, ingested."""
    import anndata as ad

    import livelatent as ll

    adata = ad.read_h5ad(KANG)
    source = Path(target).with_suffix(".h5ad")
    adata[np.argsort(adata.obs[BATCH].to_numpy(), kind="stable")].write_h5ad(source)
    ll.ingest(source, target, label=LABEL, batch=BATCH, memory="1GB")
    return {}


def accuracy(store: str, order: str, seed: int, epochs: int) -> dict[str, Any]:
    """KNN accuracy on two donors that training has not seen; the same model, loop and cells either way."""
    import torch
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.neighbors import KNeighborsClassifier

    import livelatent as ll
    from livelatent.stream.plan import StreamConfig
    from livelatent.train.embed import embed
    from livelatent.train.loop import train

    atlas = ll.Atlas.open(Path(store))
    unseen = np.isin(atlas.batch, (2 * seed, 2 * seed + 1))
    is_seen = np.flatnonzero(~unseen & (atlas.label >= 0))
    torch.manual_seed(seed)
    model = ll.Cellular(atlas, rows=is_seen, seed=seed)
    config = StreamConfig(minibatch_cells=MINIBATCH, buffer_cells=BUFFER, block_cells=BLOCK, seed=seed)
    with patch("livelatent.train.loop.Stream", full_shuffle()) if order == "full shuffle" else nullcontext():
        for step in train(model, atlas, config, epochs=epochs, rows=is_seen, device="cpu"):
            # The stages after the first train a head on a latent that stays.
            if step.stage != model.stages[0].name:
                break
    trained = np.intersect1d(is_seen, atlas.rows("train", labelled=True))
    judged = np.flatnonzero(unseen & (atlas.label >= 0))
    knn = KNeighborsClassifier(NEIGHBORS).fit(embed(model, atlas, trained, device="cpu"), atlas.label[trained])
    found, wanted = knn.predict(embed(model, atlas, judged, device="cpu")), atlas.label[judged]
    return {
        "knn_accuracy": round(float(accuracy_score(wanted, found)), 4),
        "balanced_accuracy": round(float(balanced_accuracy_score(wanted, found)), 4),
        "cells": len(judged),
    }


def full_shuffle() -> type:
    """A stream in name, whose minibatches come from memory: each epoch is one permutation of all its cells."""
    import torch

    from livelatent.stream.minibatch import Minibatch
    from livelatent.stream.stream import Stream

    class FullShuffle(Stream):
        def minibatches(self, epoch: int, first_step: int = 0, *, goes_on: bool = False) -> Iterator[Minibatch]:
            atlas, rows, size = self.atlas, self.rows, self.config.minibatch_cells
            counts = atlas.to_anndata(rows)[:, list(self.genes)].X.toarray()
            total = atlas.total[rows]
            x = torch.from_numpy(np.log1p(counts * (self.mean_total / total)[:, None]).astype(np.float32))
            order = np.random.default_rng((self.config.seed, epoch)).permutation(len(rows))
            for step in range(first_step, self.n_steps):
                cells = order[step * size :][:size]
                yield Minibatch(
                    x=x[cells],
                    label=torch.from_numpy(atlas.label[rows[cells]].astype(np.int64)),
                    batch=torch.from_numpy(atlas.batch[rows[cells]].astype(np.int64)),
                    cell=torch.from_numpy(rows[cells]),
                    total=torch.from_numpy(total[cells].astype(np.float32)),
                )

    return FullShuffle
