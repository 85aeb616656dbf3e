"""What quality control looks at: four numbers for each cell and one for each gene, in one pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import map_cells
from livelatent.compiled import compiled
from livelatent.progress import CellProgress

N_TOP = 20


@dataclass(frozen=True)
class CellSummaries:
    """Of every cell of the atlas, over the genes that the store holds; memory is all that grows with the cells."""

    n_genes: Int64[ndarray, " cell"]
    """Genes with a count."""
    total: Float64[ndarray, " cell"]
    pct_mito: Float64[ndarray, " cell"]
    """Percentage of counts in mitochondrial genes; NaN for an empty cell."""
    pct_top20: Float64[ndarray, " cell"]
    """Percentage of counts in the cell's own 20 highest genes; NaN for an empty cell."""
    n_seen: Int64[ndarray, " gene"]
    """In how many cells each gene has a count."""


def summarise(
    atlas: Atlas, is_mito: Bool[ndarray, " gene"], *, client: Any = None, progress: CellProgress | None = None
) -> CellSummaries:
    """Go over every cell once."""

    def chunk_summaries(counts: sparse.csr_matrix, chunk: Rows) -> tuple[ndarray, ndarray]:
        table = np.empty((4, chunk.size))
        seen = np.zeros(counts.shape[1], np.int64)
        compiled(_summarise)(counts.data, counts.indices, counts.indptr.astype(np.int64), is_mito, N_TOP, table, seen)
        return table, seen

    table, n_seen = np.empty((4, atlas.n_cells)), np.zeros(atlas.n_genes, np.int64)
    done = 0
    for part, seen in map_cells(chunk_summaries, atlas, client=client, progress=progress, what="looking at cells"):
        table[:, done : done + part.shape[1]] = part
        n_seen += seen
        done += part.shape[1]
    n_genes, total, mito, top = table
    # 0 / 0 for an empty cell: it has no shares.
    with np.errstate(invalid="ignore"):
        return CellSummaries(n_genes.astype(np.int64), total, 100 * mito / total, 100 * top / total, n_seen)


def seen_in(atlas: Atlas, rows: Rows, *, client: Any = None) -> Int64[ndarray, " gene"]:
    """In how many of these cells each gene has a count."""

    def chunk_seen(counts: sparse.csr_matrix, chunk: Rows) -> ndarray:
        return np.bincount(counts.indices[counts.data > 0], minlength=counts.shape[1])

    n_seen = np.zeros(atlas.n_genes, np.int64)
    for seen in map_cells(chunk_seen, atlas, rows, client=client):
        n_seen += seen
    return n_seen


def _summarise(
    data: ndarray, indices: ndarray, indptr: ndarray, is_mito: ndarray, n_top: int, table: ndarray, seen: ndarray
) -> None:
    """Fill in each cell's genes, total, mitochondrial counts and counts in its highest genes."""
    highest = np.zeros(n_top)
    for cell in range(indptr.size - 1):
        n_genes, total, mito = 0, 0.0, 0.0
        highest[:] = 0
        lowest = 0  # of the highest, which is where the next larger count goes
        for k in range(indptr[cell], indptr[cell + 1]):
            count = float(data[k])
            if count > 0:
                n_genes += 1
                total += count
                seen[indices[k]] += 1
                if is_mito[indices[k]]:
                    mito += count
                if count > highest[lowest]:
                    highest[lowest] = count
                    lowest = 0
                    for place in range(1, n_top):
                        if highest[place] < highest[lowest]:
                            lowest = place
        table[0, cell], table[1, cell], table[2, cell], table[3, cell] = n_genes, total, mito, highest.sum()
