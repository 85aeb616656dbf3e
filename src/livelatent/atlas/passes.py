"""Whole-atlas passes, chunk by chunk on Dask: any function over cells, and the moments of each gene.

All work on x = log1p(count * mean_total / total) (docs/equations.md, 2.3 to 2.5). Chunks are combined in row order, so
that a pass gives the same bits however many threads it ran on.
"""

import contextlib
import functools
import os
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it ships none; Dask needs it and brings it
import dask
import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows, as_rows, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.progress import CellProgress

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


def logs_of(atlas: Atlas, mean_total: float | None = None) -> Callable[[sparse.csr_matrix, Rows], sparse.csr_matrix]:
    """What gives a chunk's x from its counts and rows; `mean_total` is the atlas's own by default."""
    scale = atlas.mean_total if mean_total is None else float(mean_total)

    def logs(counts: sparse.csr_matrix, chunk: Rows) -> sparse.csr_matrix:
        return log_matrix(counts, atlas.total[chunk], scale)

    return logs


def map_cells[R](
    function: Callable[[sparse.csr_matrix, Rows], R],
    atlas: Atlas,
    rows: Rows | None = None,
    *,
    chunk_cells: int | None = None,
    client: Any = None,
    progress: CellProgress | None = None,
    what: str = "reading cells",
) -> Iterator[R]:
    """Call `function(counts, rows)` on every chunk of cells; results come in row order.

    Parameters
    ----------
    rows
        Cells to pass over; all by default, those that QC masks too.
    chunk_cells
        Cells per call; `CHUNK_CELLS` by default.
    client
        A `distributed.Client` to run on. Without one, local threads; a cluster is never picked up by itself.
    progress
        Called as `progress(cells done, all cells, what)` after each chunk.

    Notes
    -----
    At most as many chunks as there are threads (twice the workers) are under way, so memory does not grow with the
    atlas. Left early, by an error or by closing the iterator, the pass takes back what it gave the cluster.
    """
    chosen = rows_or_all(rows, atlas.n_cells)
    chunk_cells = CHUNK_CELLS if chunk_cells is None else chunk_cells
    if chunk_cells < 1:
        raise ValueError(f"chunk_cells must be at least 1; got {chunk_cells}.")
    chunks = [chosen[start : start + chunk_cells] for start in range(0, chosen.size, chunk_cells)]
    run = _on_threads if client is None else functools.partial(_on_cluster, client=client)
    done = 0
    with contextlib.closing(run(function, atlas, chunks)) as results:
        for chunk, result in zip(chunks, results, strict=True):
            done += chunk.size
            if progress is not None:
                progress(done, chosen.size, what)
            yield result


def _on_chunk[R](function: Callable[[sparse.csr_matrix, Rows], R], atlas: Atlas, rows: Rows) -> R:
    return function(atlas.read_cells(rows), rows)


def _on_threads[R](function: Callable[[sparse.csr_matrix, Rows], R], atlas: Atlas, chunks: list[Rows]) -> Generator[R]:
    """On local threads."""
    n_threads = n_local_threads()
    _ = atlas.matrix().indptr  # read once, before the threads ask for it
    for start in range(0, len(chunks), n_threads):
        tasks = [dask.delayed(_on_chunk, pure=False)(function, atlas, c) for c in chunks[start : start + n_threads]]
        yield from dask.compute(*tasks, scheduler="threads", num_workers=n_threads)


def n_local_threads() -> int:
    """How many chunks a pass works on at once without a cluster."""
    return min(8, os.cpu_count() or 1)


def _on_cluster[R](
    function: Callable[[sparse.csr_matrix, Rows], R], atlas: Atlas, chunks: list[Rows], client: Any
) -> Generator[R]:
    """On a cluster, whose workers open the store themselves, once for the pass."""
    # The token makes each pass open the store anew: it may have been written again under its name.
    work = cloudpickle.dumps((function, atlas, uuid.uuid4().hex))
    n_ahead = 2 * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    waiting: deque[Any] = deque()
    shared = client.scatter(work, hash=False, broadcast=True)
    try:
        for chunk in chunks:
            waiting.append(client.submit(_on_worker, shared, chunk, pure=False))
            if len(waiting) >= n_ahead:
                yield waiting[0].result()
                waiting.popleft()
        while waiting:
            yield waiting[0].result()
            waiting.popleft()
    finally:
        client.cancel([*waiting, shared])


def _on_worker(work: bytes, rows: Rows) -> Any:
    function, atlas = _unpacked(work)
    return _on_chunk(function, atlas, rows)


@functools.lru_cache(maxsize=1)
def _unpacked(work: bytes) -> tuple[Callable[[sparse.csr_matrix, Rows], Any], Atlas]:
    # Opening a store reads its obs: once per worker and pass, not once per chunk.
    function, atlas, _ = cloudpickle.loads(work)
    return function, atlas


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
    atlas: Atlas,
    rows: Rows | None = None,
    *,
    mean_total: float | None = None,
    client: Any = None,
    progress: CellProgress | None = None,
) -> GeneMoments:
    """Mean and variance (n - 1) of each gene's x, and the number of cells it was seen in.

    Parameters
    ----------
    rows
        Cells to look at; None means all that QC keeps.
    mean_total
        The L to normalise by; the atlas's own by default.
    """
    logs = logs_of(atlas, mean_total)

    def chunk_moments(counts: sparse.csr_matrix, chunk: Rows) -> GeneMoments:
        return moments_of(logs(counts, chunk))

    chunks = map_cells(
        chunk_moments, atlas, rows_or_kept(rows, atlas), client=client, progress=progress, what="means and variances"
    )
    return merged_moments(chunks, atlas.n_genes)


def rows_or_kept(rows: object | None, atlas: Atlas) -> Rows:
    """What `as_rows` gives, and for None every cell that QC keeps: the default of all that is learnt from."""
    return atlas.rows() if rows is None else as_rows(rows, atlas.n_cells)
