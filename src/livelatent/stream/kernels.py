"""The inner loops of a minibatch, compiled: raw values of its cells to log counts, counts, or a sparse matrix.

Not `parallel`: numba's workqueue aborts the process when two threads enter it. They release the
GIL. Whoever calls them has checked every index and pointer.
"""

from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.compiled import compiled

SMALL_COUNTS = 16
"""Counts below have their logarithm taken once per cell: most counts are 1 or 2, and a logarithm costs more than all
else here (us a cell with 20,000 genes: 11.1 without this, 2.5 with it; with 2,000 genes 2.0 and .35; the same bits)."""


def scatter_logs(
    data: ndarray,
    indices: ndarray,
    start: ndarray,
    stop: ndarray,
    gene_map: ndarray,
    scale: ndarray,
    at: ndarray,
    out: ndarray,
) -> None:
    """Write log1p(count * scale) of each cell's counts to its row of `out`, which must hold zeros.

    Parameters
    ----------
    data, indices
        Counts and gene numbers; cell i's are those from `start[i]` to `stop[i]`.
    gene_map
        Column of `out` per gene of the store; -1 leaves the gene out.
    at
        Row of `out` per cell.
    """
    compiled(_scatter_logs)(data, indices, start, stop, gene_map, scale, at, out)


def scatter_counts(
    data: ndarray, indices: ndarray, start: ndarray, stop: ndarray, gene_map: ndarray, at: ndarray, out: ndarray
) -> None:
    """As `scatter_logs`, the counts as they are."""
    compiled(_scatter_counts)(data, indices, start, stop, gene_map, at, out)


def n_wanted(indices: ndarray, start: ndarray, stop: ndarray, gene_map: ndarray) -> ndarray:
    """How many of each cell's values are of genes that are wanted."""
    counts: ndarray = compiled(_n_wanted)(indices, start, stop, gene_map)
    return counts


def gather(
    data: ndarray,
    indices: ndarray,
    start: ndarray,
    stop: ndarray,
    at: ndarray,
    out_data: ndarray,
    out_indices: ndarray,
    gene_map: ndarray | None = None,
) -> None:
    """Copy each cell's values and gene numbers to `at[i]` and on of two arrays, in the types of those.

    With a `gene_map` only genes that are wanted, and their columns.
    """
    if gene_map is None:
        compiled(_gather)(data, indices, start, stop, at, out_data, out_indices)
    else:
        compiled(_gather_wanted)(data, indices, start, stop, at, out_data, out_indices, gene_map)


def ascend(indptr: ndarray, indices: ndarray) -> bool:
    """Whether the columns of every row ascend."""
    n_falls: int = compiled(_n_falls)(indptr, indices)
    return n_falls == 0


def sort_columns(indptr: ndarray, indices: ndarray, data: ndarray) -> None:
    """Put each row's columns in ascending order, in place."""
    compiled(_sort_columns)(indptr, indices, data)


def log_rows(indptr: ndarray, data: ndarray, scale: ndarray) -> None:
    """Replace each row's counts by log1p(count * scale), in place."""
    compiled(_log_rows)(indptr, data, scale)


def _scatter_logs(
    data: Any, indices: Any, start: Any, stop: Any, gene_map: Any, scale: Any, at: Any, out: Any
) -> None:  # pragma: no cover
    # Single precision after the product: a logarithm in double changes nothing that float32 can show.
    small = np.zeros(SMALL_COUNTS, np.float32)
    for cell in range(start.size):
        row = out[at[cell]]
        factor = scale[cell]
        for low in range(SMALL_COUNTS):
            small[low] = np.log1p(np.float32(low * factor))
        for k in range(start[cell], stop[cell]):
            column = gene_map[indices[k]]
            if column >= 0:
                value = data[k]
                count: Any = np.int64(value) if 0 <= value < SMALL_COUNTS else SMALL_COUNTS
                if count == value and count < SMALL_COUNTS:
                    row[column] = small[count]
                else:
                    row[column] = np.log1p(np.float32(value * factor))


def _log_rows(indptr: Any, data: Any, scale: Any) -> None:  # pragma: no cover
    small = np.zeros(SMALL_COUNTS, np.float32)
    for cell in range(scale.size):
        factor = scale[cell]
        for low in range(SMALL_COUNTS):
            small[low] = np.log1p(np.float32(low * factor))
        for k in range(indptr[cell], indptr[cell + 1]):
            value = data[k]
            count: Any = np.int64(value) if 0 <= value < SMALL_COUNTS else SMALL_COUNTS
            if count == value and count < SMALL_COUNTS:
                data[k] = small[count]
            else:
                data[k] = np.log1p(np.float32(value * factor))


def _scatter_counts(
    data: Any, indices: Any, start: Any, stop: Any, gene_map: Any, at: Any, out: Any
) -> None:  # pragma: no cover
    for cell in range(start.size):
        row = out[at[cell]]
        for k in range(start[cell], stop[cell]):
            column = gene_map[indices[k]]
            if column >= 0:
                row[column] = data[k]


def _n_wanted(indices: Any, start: Any, stop: Any, gene_map: Any) -> Any:  # pragma: no cover
    counts = np.zeros(start.size, np.int64)
    for cell in range(start.size):
        for k in range(start[cell], stop[cell]):
            counts[cell] += gene_map[indices[k]] >= 0
    return counts


def _gather(
    data: Any, indices: Any, start: Any, stop: Any, at: Any, out_data: Any, out_indices: Any
) -> None:  # pragma: no cover
    for cell in range(start.size):
        first, n = start[cell], stop[cell] - start[cell]
        # Slices and two loops: each becomes one of vector instructions.
        from_data, from_indices = data[first : first + n], indices[first : first + n]
        to_data, to_indices = out_data[at[cell] : at[cell] + n], out_indices[at[cell] : at[cell] + n]
        for k in range(n):
            to_data[k] = from_data[k]
        for k in range(n):
            to_indices[k] = from_indices[k]


def _n_falls(indptr: Any, indices: Any) -> int:  # pragma: no cover
    n_falls = 0
    for cell in range(indptr.size - 1):
        own = indices[indptr[cell] : indptr[cell + 1]]
        # Without a way out, so that it is vector instructions: with one it took 1 us a cell of 20,000 genes.
        for k in range(1, own.size):
            n_falls += own[k] < own[k - 1]
    return n_falls


def _gather_wanted(
    data: Any, indices: Any, start: Any, stop: Any, at: Any, out_data: Any, out_indices: Any, gene_map: Any
) -> None:  # pragma: no cover
    for cell in range(start.size):
        to = at[cell]
        for k in range(start[cell], stop[cell]):
            column = gene_map[indices[k]]
            if column >= 0:
                out_indices[to] = column
                out_data[to] = data[k]
                to += 1


def _sort_columns(indptr: Any, indices: Any, data: Any) -> None:  # pragma: no cover
    for cell in range(indptr.size - 1):
        first, last = indptr[cell], indptr[cell + 1]
        is_sorted = True
        for k in range(first + 1, last):
            if indices[k] < indices[k - 1]:
                is_sorted = False
                break
        if not is_sorted:
            order = np.argsort(indices[first:last])
            indices[first:last] = indices[first:last][order]
            data[first:last] = data[first:last][order]
