"""Small stores of every number type for the stream, and what its minibatches must hold, by way of plain anndata."""

import functools
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.layout import Layout
from livelatent.stream.minibatch import Minibatch
from livelatent.stream.plan import StreamConfig, plan_epoch

LARGEST = {"uint16": [65_535], "uint32": [65_536, 2**32 - 1], "float32": [2**33], "float64": [2**33 + 1]}
"""Counts of which one makes ingest choose the type."""
LAYOUT = Layout(chunk_cells=8, shard_elements=400)
SMALL = StreamConfig(minibatch_cells=23, block_cells=8, buffer_cells=56, seed=3)
STREAMS_OWN = ("livelatent-group", "livelatent-ahead", "livelatent-read", "livelatent-minibatch")
FIELDS = ("label", "batch", "cell", "total")


def uneven_adata(kind: str = "uint16", n_cells: int = 211, n_genes: int = 37, seed: int = 1) -> anndata.AnnData:
    """Cells of 0 to all genes, a silent gene, and obs of every kind of value."""
    random = np.random.default_rng(seed)
    share = random.choice([0, 0.03, 0.2, 1], n_cells, p=[0.1, 0.4, 0.4, 0.1])
    counts = random.integers(1, 40, (n_cells, n_genes)).astype(np.float64)
    counts *= random.random((n_cells, n_genes)) < share[:, None]
    counts[:, 5] = 0
    for k, largest in enumerate(LARGEST[kind]):
        counts[30 + 70 * k, 2 + k] = largest
    cell_type = random.choice(["B", "T", "NK", None], n_cells, p=[0.3, 0.5, 0.1, 0.1])
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(cell_type),
            "donor": random.choice(["d2", "d10", "d1"], n_cells, p=[0.6, 0.3, 0.1]),
            # In an order that means something, with one that no cell is in.
            "stage": pd.Categorical(random.choice(["late", "early"], n_cells), ["early", "never", "late"]),
            "sex": pd.Categorical(random.choice(["f", "m", None], n_cells)),
            "age": random.integers(20, 80, n_cells),
            "score": np.where(random.random(n_cells) < 0.2, np.nan, random.normal(size=n_cells)),
            "is_smoker": random.random(n_cells) < 0.3,
        },
        index=pd.Index([f"cell{seed}-{i}" for i in range(n_cells)], dtype=object),
    )
    var = pd.DataFrame(index=pd.Index([f"GENE{g}" for g in range(n_genes)], dtype=object))
    obsm = {"X_ref": random.normal(size=(n_cells, 3)).astype(np.float32)}
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var, obsm=obsm)


def uneven_atlas(folder: Path, kind: str = "uint16", *, batch: str | None = "donor", **of_cells: int) -> Atlas:
    """The store of `uneven_adata`."""
    file = folder / f"{kind}.h5ad"
    uneven_adata(kind, **of_cells).write_h5ad(file)
    return ingest(file, folder / f"{kind}.zarr", label="cell_type", batch=batch, layout=LAYOUT, seed=5)


@dataclass(frozen=True)
class Held:
    """A store in memory, as anndata reads it."""

    counts: pd.DataFrame
    obs: pd.DataFrame
    obsm: dict[str, np.ndarray]

    def x(self, cell, genes=None, values="log1p", mean_total=None) -> np.ndarray:
        """What minibatches hold of some cells: genes by name, those that are not there 0."""
        counts = self.counts.iloc[np.asarray(cell)]
        chosen = counts if genes is None else counts.reindex(columns=list(genes), fill_value=0)
        if values == "counts":
            return chosen.to_numpy()
        total = counts.to_numpy().sum(axis=1, keepdims=True)
        return np.log1p(chosen.to_numpy() * (mean_total / np.where(total > 0, total, 1)))

    def column(self, name: str, cell) -> list[object]:
        """A column of some cells, None where it is missing."""
        return [None if pd.isna(value) else value for value in self.obs[name].iloc[np.asarray(cell)].astype(object)]


@functools.cache
def _held(path: Path) -> Held:
    adata = anndata.read_zarr(path)
    counts = pd.DataFrame(adata.X.toarray().astype(np.float64), columns=[str(name) for name in adata.var_names])
    return Held(counts, adata.obs, {name: np.asarray(values) for name, values in adata.obsm.items()})


def held(atlas: Atlas) -> Held:
    """The store in memory; read once, so none that changes."""
    return _held(atlas.path)


def planned_cells(rows: np.ndarray, config: StreamConfig, epoch: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """The rows of an epoch in the order of delivery."""
    plan = plan_epoch(rows, config, epoch, rank, world)
    return np.concatenate([group.rows(rows)[group.order()] for group in plan])


def dense(minibatch: Minibatch) -> np.ndarray:
    """`x` as a numpy array; a sparse one is seen to be what `torch.sparse_csr` promises."""
    x = minibatch.x
    if x.layout == torch.strided:
        return x.numpy()
    assert x.shape[0] == minibatch.n_cells
    values, columns, pointers = x.values().numpy(), x.col_indices().numpy(), x.crow_indices().numpy()
    assert values.dtype == np.float32 and pointers[0] == 0 and pointers[-1] == len(values) == len(columns)
    for first, last in itertools.pairwise(pointers):
        assert np.all(np.diff(columns[first:last]) > 0)
    return sparse.csr_matrix((values, columns, pointers), shape=tuple(x.shape)).toarray()


def bits(minibatch: Minibatch) -> list[bytes]:
    """All that a minibatch holds."""
    x = minibatch.x
    parts = [x] if x.layout == torch.strided else [x.values(), x.col_indices(), x.crow_indices()]
    parts += [getattr(minibatch, name) for name in FIELDS]
    parts += [] if minibatch.atlas is None else [minibatch.atlas]
    parts += [*minibatch.obs.values(), *minibatch.obsm.values()]
    return [part.numpy().tobytes() for part in parts]


def stream_threads() -> list[str]:
    """Threads of streams that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(STREAMS_OWN)]
