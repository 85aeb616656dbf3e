"""Whole-atlas passes, chunk by chunk on Dask: moments, PCA, distances between types, any function over cells.

All work on x = log1p(count * mean_total / total) (METHODS.md, section 1). Chunks are combined in row order, so
that a pass gives the same bits however many threads it ran on.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import GeneMoments, highly_variable_genes, merged_moments, moments_of
from livelatent.threads import one_thread

__all__ = [
    "GeneMoments",
    "Pca",
    "centroid_distances",
    "gene_moments",
    "highly_variable_genes",
    "log_expression",
    "log_matrix",
    "map_cells",
    "pca",
]

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


def log_expression(
    csr: sparse.csr_matrix,
    total: Float[ndarray, " cell"],
    genes: Int[ndarray, " gene"],
    mean_total: float,
) -> Float32[ndarray, "cell gene"]:
    """log1p(count * mean_total / total) of some genes, dense: one chunk."""
    return np.asarray(log_matrix(csr, total, mean_total)[:, genes].toarray(), dtype=np.float32)


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


@dataclass(frozen=True)
class Pca:
    """Principal components of some genes' x."""

    components: Float64[ndarray, "component gene"]
    """Of unit length, the largest entry of each positive."""
    mean: Float64[ndarray, " gene"]
    variance: Float64[ndarray, " component"]
    """Variance along each component (n - 1)."""

    def transform(self, x: Float[ndarray, "cell gene"]) -> Float64[ndarray, "cell component"]:
        """Where cells lie on the components."""
        return np.asarray((np.asarray(x, np.float64) - self.mean) @ self.components.T)


def pca(
    atlas: Atlas,
    genes: Int[ndarray, " gene"],
    n_components: int,
    rows: Rows | None = None,
    *,
    mean_total: float | None = None,
    client: Any = None,
) -> Pca:
    """Exact PCA by streaming: the genes' covariance is summed up, then taken apart.

    Raises
    ------
    ValueError
        If more components are asked for than cells - 1 or genes allow.

    Notes
    -----
    Memory is 8 bytes times genes squared per thread: 32 MB for 2,000 genes.
    """
    genes = np.asarray(genes, np.int64)
    scale = atlas.mean_total if mean_total is None else mean_total
    chosen = rows_or_all(rows, atlas.n_cells)
    if not 1 <= n_components <= min(chosen.size - 1, genes.size):
        raise ValueError(
            f"n_components must lie in 1..{max(min(chosen.size - 1, genes.size), 0)} "
            f"({chosen.size} cells x {genes.size} genes); got {n_components}."
        )
    # A rough centre (the first chunk's mean) keeps the sums of squares small against what is subtracted from them.
    head = chosen[:CHUNK_CELLS]
    first = log_matrix(atlas.read_cells(head), atlas.total[head], scale)[:, genes]
    rough = np.asarray(first.mean(axis=0), np.float64).ravel()

    def chunk_sums(counts: sparse.csr_matrix, chunk: Rows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x = log_matrix(counts, atlas.total[chunk], scale)[:, genes].toarray() - rough
        return x.sum(axis=0), x.T @ x

    total, squares = np.zeros(genes.size), np.zeros((genes.size, genes.size))
    # Chunks run side by side already.
    with one_thread():
        for part_total, part_squares in map_cells(chunk_sums, atlas, chosen, client=client):
            total += part_total
            squares += part_squares
        centre = total / chosen.size
        covariance = (squares - chosen.size * np.outer(centre, centre)) / (chosen.size - 1)
        variance, vectors = np.linalg.eigh(covariance)
    components = vectors[:, ::-1][:, :n_components].T
    largest = np.abs(components).argmax(axis=1)
    components = components * np.where(components[np.arange(n_components), largest] < 0, -1.0, 1.0)[:, None]
    return Pca(components, rough + centre, np.maximum(variance[::-1][:n_components], 0))


def centroid_distances(
    atlas: Atlas,
    reference: Pca,
    genes: Int[ndarray, " gene"],
    rows: Rows | None = None,
    *,
    mean_total: float | None = None,
    client: Any = None,
) -> Float64[ndarray, "label label"]:
    """How far types lie from one another in PCA space, as a share of the largest distance; 0 = never seen together.

    Notes
    -----
    Algorithm 1 of document 000 (METHODS.md, 2.16): the Euclidean distance between two types' centroids within each
    batch that holds both, averaged over these batches, divided by the maximum. Unlabelled cells have no part in it.
    """
    scale = atlas.mean_total if mean_total is None else mean_total
    genes = np.asarray(genes, np.int64)
    chosen = rows_or_all(rows, atlas.n_cells)
    chosen = chosen[atlas.label[chosen] >= 0]
    n_labels, n_batches = len(atlas.label_names), max(len(atlas.batch_names), 1)
    n_groups = n_labels * n_batches

    def chunk_sums(counts: sparse.csr_matrix, chunk: Rows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x = log_matrix(counts, atlas.total[chunk], scale)[:, genes].toarray()
        group = atlas.batch[chunk].astype(np.int64) * n_labels + atlas.label[chunk]
        member = sparse.csr_matrix((np.ones(group.size), (group, np.arange(group.size))), (n_groups, group.size))
        return member @ reference.transform(x), np.bincount(group, minlength=n_groups)

    sums, n_cells = np.zeros((n_groups, reference.components.shape[0])), np.zeros(n_groups, np.int64)
    for part_sums, part_cells in map_cells(chunk_sums, atlas, chosen, client=client):
        sums += part_sums
        n_cells += part_cells
    centroid = (sums / np.maximum(n_cells, 1)[:, None]).reshape(n_batches, n_labels, -1)
    return mean_distances(centroid, n_cells.reshape(n_batches, n_labels) > 0)


def mean_distances(
    centroid: Float64[ndarray, "batch label component"], seen: "np.ndarray[Any, Any]"
) -> Float64[ndarray, "label label"]:
    """Distances within batches, averaged over the batches that hold both types, divided by the largest."""
    n_labels = centroid.shape[1]
    sums, n_batches = np.zeros((n_labels, n_labels)), np.zeros((n_labels, n_labels), np.int64)
    for points, present in zip(centroid, seen, strict=True):
        both = np.outer(present, present)
        np.fill_diagonal(both, False)
        apart = np.linalg.norm(points[:, None, :] - points[None, :, :], axis=2)
        sums += np.where(both, apart, 0)
        n_batches += both
    together = n_batches > 0
    distance = np.divide(sums, n_batches, out=np.zeros_like(sums), where=together)
    if distance.max() > 0:
        distance /= distance.max()
    # Two types with one centroid were seen together all the same.
    return np.where(together, np.maximum(distance, np.finfo(np.float64).tiny), 0.0)
