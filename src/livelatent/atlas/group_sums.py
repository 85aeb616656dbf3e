"""Sums of each gene over groups of cells: of a matrix in memory, or of an atlas in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import map_cells
from livelatent.progress import CellProgress


@dataclass(frozen=True)
class GeneSums:
    """Cells, sums and sums of squares of each gene, per group."""

    n_cells: Int[ndarray, " group"]
    total: Float64[ndarray, "group gene"]
    squares: Float64[ndarray, "group gene"]

    def __add__(self, other: "GeneSums") -> "GeneSums":
        return GeneSums(self.n_cells + other.n_cells, self.total + other.total, self.squares + other.squares)

    def genes(self, chosen: Int[ndarray, " chosen"]) -> "GeneSums":
        """The same for some genes."""
        return GeneSums(self.n_cells, self.total[:, chosen], self.squares[:, chosen])

    def rest(self, code: int) -> "GeneSums":
        """All other groups as one. Added up, not subtracted from all: a gene that none of them has stays 0."""
        return GeneSums(
            np.delete(self.n_cells, code).sum(keepdims=True),
            np.delete(self.total, code, axis=0).sum(axis=0, keepdims=True),
            np.delete(self.squares, code, axis=0).sum(axis=0, keepdims=True),
        )

    @property
    def mean(self) -> Float64[ndarray, "group gene"]:
        """0 where a group has no cell."""
        return np.asarray(self.total / np.maximum(self.n_cells, 1)[:, None])

    @property
    def variance(self) -> Float64[ndarray, "group gene"]:
        """With n - 1, and exactly 0 for a gene of one whole count throughout; 0 where a group has one cell."""
        scatter = self.squares - self.n_cells[:, None] * self.mean**2
        return np.asarray(np.maximum(scatter, 0) / np.maximum(self.n_cells - 1, 1)[:, None])


def gene_sums(x: Any, label: Int[ndarray, " cell"], n_labels: int) -> GeneSums:
    """Sums over the cells of each label; -1 is left out. `x` is dense or scipy sparse, [cell, gene]."""
    n_cells, total, squares = _sparse_sums(sparse.csr_matrix(x, dtype=np.float64), label, n_labels)
    return GeneSums(n_cells, total.toarray(), squares.toarray())


def _sparse_sums(
    x: sparse.csr_matrix, label: Int[ndarray, " cell"], n_labels: int
) -> tuple[Int64[ndarray, " group"], sparse.csr_matrix, sparse.csr_matrix]:
    used = np.flatnonzero(label >= 0)
    member = sparse.csr_matrix((np.ones(used.size), (label[used], used)), shape=(n_labels, label.size))
    squared = sparse.csr_matrix((x.data**2, x.indices, x.indptr), shape=x.shape)
    return np.bincount(label[used], minlength=n_labels), member @ x, member @ squared


def group_sums(
    atlas: Atlas,
    group: Int[ndarray, " cell"],
    n_groups: int,
    rows: Rows,
    transform: Callable[[sparse.csr_matrix, Rows], sparse.csr_matrix],
    *,
    client: Any = None,
    progress: CellProgress | None = None,
    what: str = "sums per group",
) -> tuple[GeneSums, Int64[ndarray, " gene"]]:
    """Sums over the cells of each group, all groups in one pass, and in how many cells each gene is not 0.

    Parameters
    ----------
    group
        One code for each of `rows`; -1 leaves a cell out.
    transform
        What is summed up, from a chunk's counts and rows: the counts themselves, or x.

    Notes
    -----
    A chunk's sums are sparse (they hold no more than the chunk), so many groups cost memory once only.
    """
    member_of = np.full(atlas.n_cells, -1, np.int32)
    member_of[rows] = group

    def chunk_sums(
        counts: sparse.csr_matrix, chunk: Rows
    ) -> tuple[ndarray, sparse.coo_matrix, sparse.coo_matrix, ndarray]:
        x = transform(counts, chunk).astype(np.float64)
        n_cells, total, squares = _sparse_sums(x, member_of[chunk], n_groups)
        return n_cells, total.tocoo(), squares.tocoo(), np.bincount(x.indices[x.data != 0], minlength=x.shape[1])

    n_cells, n_seen = np.zeros(n_groups, np.int64), np.zeros(atlas.n_genes, np.int64)
    total, squares = np.zeros((n_groups, atlas.n_genes)), np.zeros((n_groups, atlas.n_genes))
    chunks = map_cells(chunk_sums, atlas, rows[group >= 0], client=client, progress=progress, what=what)
    for part_cells, part_total, part_squares, part_seen in chunks:
        n_cells += part_cells
        n_seen += part_seen
        total[part_total.row, part_total.col] += part_total.data
        squares[part_squares.row, part_squares.col] += part_squares.data
    return GeneSums(n_cells, total, squares), n_seen
