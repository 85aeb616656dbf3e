"""Principal components of an atlas, and how far its types lie apart along them, by streaming."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import CHUNK_CELLS, log_matrix, map_cells
from livelatent.threads import one_thread


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
    centroid: Float64[ndarray, "batch label component"], seen: Bool[ndarray, "batch label"]
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
