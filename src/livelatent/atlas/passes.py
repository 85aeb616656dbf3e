"""Whole-atlas passes, chunk by chunk on Dask: any function over cells, and the moments of each gene.

All work on x = log1p(count * mean_total / total) (METHODS.md, section 1). Chunks are combined in row order, so
that a pass gives the same bits however many threads it ran on.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows, rows_or_all
from livelatent.atlas.atlas import Atlas

CHUNK_CELLS = 4096


def size_factor(total: Float[ndarray, " cell"], mean_total: float) -> Float64[ndarray, " cell"]:
    """What a cell's counts are multiplied by: mean_total / total, and 0 for an empty cell (it has no counts)."""
    total = np.asarray(total, np.float64)
    factor = np.zeros_like(total)
    np.divide(mean_total, total, out=factor, where=total > 0)
    return factor


def log_matrix(csr: sparse.csr_matrix, total: Float[ndarray, " cell"], mean_total: float) -> sparse.csr_matrix:
    """log1p(count * mean_total / total), still sparse, float64."""
    factor = np.repeat(size_factor(total, mean_total), np.diff(csr.indptr))
    return sparse.csr_matrix((np.log1p(csr.data * factor), csr.indices, csr.indptr), shape=csr.shape)


def map_cells[R](
    function: Callable[[sparse.csr_matrix, Rows], R],
    atlas: Atlas,
    rows: Rows | None = None,
    *,
    chunk_cells: int | None = None,
    client: Any = None,
) -> Iterator[R]:
    """Call `function(counts, rows)` on every chunk of cells; results come in row order.

    Parameters
    ----------
    rows
        Cells to pass over; all by default.
    chunk_cells
        Cells per call; `CHUNK_CELLS` by default.
    client
        A `distributed.Client` to run on. Without one, local threads; a cluster is never picked up by itself.

    Notes
    -----
    At most as many chunks as there are threads (workers) are under way, so memory does not grow with the atlas.
    """
    chosen = rows_or_all(rows, atlas.n_cells)
    chunk_cells = CHUNK_CELLS if chunk_cells is None else chunk_cells
    if chunk_cells < 1:
        raise ValueError(f"chunk_cells must be at least 1; got {chunk_cells}.")
    chunks = [chosen[start : start + chunk_cells] for start in range(0, chosen.size, chunk_cells)]
    if client is not None:
        yield from _on_cluster(function, atlas, chunks, client)
        return
    n_threads = min(8, os.cpu_count() or 1)
    atlas.csr()
    for start in range(0, len(chunks), n_threads):
        tasks = [dask.delayed(_on_chunk, pure=False)(function, atlas, c) for c in chunks[start : start + n_threads]]
        yield from dask.compute(*tasks, scheduler="threads", num_workers=n_threads)


def _on_chunk[R](function: Callable[[sparse.csr_matrix, Rows], R], atlas: Atlas, rows: Rows) -> R:
    return function(atlas.read_cells(rows), rows)


def _on_cluster[R](
    function: Callable[[sparse.csr_matrix, Rows], R], atlas: Atlas, chunks: list[Rows], client: Any
) -> Iterator[R]:
    """The same on a cluster, whose workers open the store themselves."""
    n_ahead = 2 * max(1, len(client.scheduler_info()["workers"]))
    waiting: list[Any] = []
    for chunk in chunks:
        waiting.append(client.submit(_on_chunk, function, atlas, chunk, pure=False))
        if len(waiting) >= n_ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


@dataclass(frozen=True)
class GeneMoments:
    """What a pass learns of each gene."""

    mean: Float64[ndarray, " gene"]
    variance: Float64[ndarray, " gene"]
    """With n - 1; 0 where there is one cell."""
    n_seen: Int64[ndarray, " gene"]
    """Cells with at least one count."""
    n_cells: int


def moments_of(x: sparse.csr_matrix) -> GeneMoments:
    """Moments of one chunk."""
    n_cells, n_genes = x.shape
    total = np.bincount(x.indices, weights=x.data, minlength=n_genes)
    squares = np.bincount(x.indices, weights=x.data**2, minlength=n_genes)
    mean = total / max(n_cells, 1)
    variance = np.maximum(squares - n_cells * mean**2, 0) / max(n_cells - 1, 1)
    return GeneMoments(mean, variance, np.bincount(x.indices, minlength=n_genes).astype(np.int64), n_cells)


def merged_moments(parts: Iterable[GeneMoments], n_genes: int) -> GeneMoments:
    """Moments of all chunks together, by the update of Chan et al. (1979), which does not cancel."""
    n_cells, n_seen = 0, np.zeros(n_genes, np.int64)
    mean, scatter = np.zeros(n_genes), np.zeros(n_genes)
    for part in parts:
        both = n_cells + part.n_cells
        step = part.mean - mean
        scatter += part.variance * (part.n_cells - 1) + step**2 * (n_cells * part.n_cells / both)
        mean += step * (part.n_cells / both)
        n_seen += part.n_seen
        n_cells = both
    return GeneMoments(mean, scatter / max(n_cells - 1, 1), n_seen, n_cells)


def gene_moments(
    atlas: Atlas, rows: Rows | None = None, *, mean_total: float | None = None, client: Any = None
) -> GeneMoments:
    """Mean and variance (n - 1) of each gene's x, and the number of cells it was seen in.

    Parameters
    ----------
    mean_total
        The L to normalise by; the atlas's own by default.
    """
    scale = atlas.mean_total if mean_total is None else mean_total

    def chunk_moments(counts: sparse.csr_matrix, chunk: Rows) -> GeneMoments:
        return moments_of(log_matrix(counts, atlas.total[chunk], scale))

    return merged_moments(map_cells(chunk_moments, atlas, rows, client=client), atlas.n_genes)
