"""Atlases of any size with a ground truth: types with markers, batches, library sizes, a hidden type."""

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from livelatent.atlas.elements import plain_frame, write_element
from livelatent.atomic import fresh_file

CHUNK_VALUES = 4_000_000


def simulate_h5ad(
    path: str | os.PathLike[str],
    n_cells: int = 10_000,
    n_genes: int = 2_000,
    n_labels: int = 8,
    n_batches: int = 3,
    seed: int = 0,
    *,
    hidden: Sequence[int] = (),
    rare: Sequence[int] = (),
    mean_total: float | None = None,
) -> Path:
    """Write negative-binomial counts with known structure as a CSR `.h5ad`, chunk by chunk.

    Parameters
    ----------
    hidden
        Types (by number) whose cells have the label `"unknown"`; `true_type` keeps the truth.
    rare
        Types that have a twentieth of the usual share.
    mean_total
        Mean counts per cell; by default 1.5 per gene.

    Returns
    -------
    The path. Obs: `cell_type` (`"type 0"`, ...), `batch` (`"batch 0"`, ...), `true_type`.

    Notes
    -----
    A type raises about 5 % of the genes 2- to 30-fold; a batch changes each gene by a factor around 1.35 and has
    its own depth. The last gene is 0 everywhere. Equal arguments give an equal matrix.
    """
    path = Path(path)
    rng = np.random.Generator(np.random.Philox(seed))
    base = rng.lognormal(0, 1.3, n_genes)
    is_marker = rng.random((n_labels, n_genes)) < max(0.05, 5 / n_genes)
    fold = np.where(is_marker, np.exp(rng.uniform(np.log(2), np.log(30), (n_labels, n_genes))), 1.0)
    shift = rng.lognormal(0, 0.3, (n_batches, n_genes))
    profile = base * fold[:, None, :] * shift[None, :, :]
    profile[..., -1] = 0
    profile /= profile.sum(axis=2, keepdims=True)
    dispersion = rng.uniform(1, 4, n_genes)
    weight = np.where(np.isin(np.arange(n_labels), rare), 0.05, 1.0)
    kind = rng.choice(n_labels, n_cells, p=weight / weight.sum())
    batch = np.sort(rng.integers(0, n_batches, n_cells))
    depth = rng.lognormal(-0.08, 0.4, n_cells) * rng.uniform(0.7, 1.4, n_batches)[batch]
    depth *= mean_total if mean_total is not None else 1.5 * n_genes
    truth = np.array([f"type {k}" for k in kind], dtype=object)
    obs = pd.DataFrame(
        {
            "cell_type": np.where(np.isin(kind, hidden), "unknown", truth),
            "batch": [f"batch {b}" for b in batch],
            "true_type": truth,
        },
        index=pd.Index([f"cell{i}" for i in range(n_cells)], dtype=object),
    )
    with fresh_file(path) as aside, h5py.File(aside, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        matrix = file.create_group("X")
        matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        matrix.attrs["shape"] = np.array([n_cells, n_genes])
        grow = {"shape": (0,), "maxshape": (None,), "chunks": (2**16,), "compression": "gzip", "compression_opts": 1}
        data = matrix.create_dataset("data", dtype="float32", **grow)
        indices = matrix.create_dataset("indices", dtype="int32", **grow)
        pointers = [np.zeros(1, np.int64)]
        step = max(1, CHUNK_VALUES // n_genes)
        for start in range(0, n_cells, step):
            rows = slice(start, start + step)
            mean = profile[kind[rows], batch[rows]] * depth[rows, None]
            counts = sparse.csr_matrix(rng.poisson(rng.gamma(dispersion, mean / dispersion)).astype(np.float32))
            end = data.shape[0] + counts.nnz
            for array, values in ((data, counts.data), (indices, counts.indices)):
                array.resize((end,))
                array[end - counts.nnz :] = values
            pointers.append(pointers[-1][-1] + counts.indptr[1:].astype(np.int64))
        matrix.create_dataset("indptr", data=np.concatenate(pointers))
        write_element(file, "obs", plain_frame(obs))
        genes = pd.DataFrame(index=pd.Index([f"GENE{i}" for i in range(n_genes)], dtype=object))
        write_element(file, "var", plain_frame(genes))
    return path
