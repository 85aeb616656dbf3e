"""Log expression of some cells and some genes, in memory, and which cells to hold there."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.genes import missing_genes
from livelatent.atlas.passes import log_matrix

__all__ = ["REFERENCE_CELLS", "chosen_genes", "gene_indices", "gene_places", "log_genes", "stratified_rows"]

# What is fitted in memory (regressions, neighbours, networks) is fitted on at most so many cells.
REFERENCE_CELLS = 50_000


def gene_indices(atlas: Atlas, genes: Sequence[str] | ndarray) -> Int[ndarray, " gene"]:
    """Where the wanted genes stand in the store, in the order wanted; -1 for one that is not there.

    Raises
    ------
    GeneMismatchError
        If more than half of them are missing, as in the stream.
    """
    missing_genes(atlas.path, list(genes), {str(gene) for gene in atlas.genes})
    return gene_places(atlas, genes)


def gene_places(atlas: Atlas, genes: Sequence[str] | ndarray) -> Int[ndarray, " gene"]:
    """The same, however many are missing."""
    place = {str(gene): index for index, gene in enumerate(atlas.genes)}
    return np.array([place.get(gene, -1) for gene in genes], np.int64)


def log_genes(atlas: Atlas, rows: Rows, genes: Int[ndarray, " gene"], mean_total: float) -> sp.csr_matrix:
    """log1p(count * mean_total / total) of these sorted rows and genes, float32; a gene of -1 is 0 everywhere."""
    return chosen_genes(atlas.read_cells(rows), atlas.total[rows], genes, mean_total)


def chosen_genes(
    counts: sp.csr_matrix, total: Float[ndarray, " cell"], genes: Int[ndarray, " gene"], mean_total: float
) -> sp.csr_matrix:
    """The same from counts of all of a store's genes."""
    x = log_matrix(counts, total, mean_total)
    if (genes < 0).any():
        # One more column, without an entry, is what -1 then chooses.
        x = sp.csr_matrix((x.data, x.indices, x.indptr), shape=(x.shape[0], x.shape[1] + 1))
    if len(genes) != x.shape[1] or (genes != np.arange(len(genes))).any():
        x = x[:, genes]
    return sp.csr_matrix(x, dtype=np.float32)


def stratified_rows(label: Int[ndarray, " cell"], n_cells: int, *, seed: int = 0) -> Int[ndarray, " chosen"]:
    """At most `n_cells` indices of labelled cells: types keep their shares, and rare types stay whole.

    A type is rare when it has at most `n_cells / (2 * types)` cells; larger types keep at least as many.
    """
    labelled = np.flatnonzero(label >= 0)
    if len(labelled) <= n_cells:
        return labelled
    codes, count = np.unique(label[labelled], return_counts=True)
    floor = np.minimum(count, n_cells // (2 * len(codes)))
    share = (count - floor) / int((count - floor).sum())
    take = floor + np.floor(share * (n_cells - floor.sum())).astype(np.int64)
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(np.flatnonzero(label == code), size, replace=False) for code, size in zip(codes, take, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
