"""How far an atlas's types lie apart in PCA space, batch by batch: the reference of the centroid loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.passes import logs_of, map_cells, rows_or_kept
from livelatent.atlas.pca import Pca, pca
from livelatent.errors import LabelError
from livelatent.progress import CellProgress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_GENES, N_COMPONENTS = 2000, 50


@dataclass(frozen=True)
class CentroidDistances:
    """Distances between types' centroids within batches: their mean, and how much batches disagree."""

    names: tuple[str, ...]
    """The labels, in the order of all three matrices."""
    mean: Float64[ndarray, "label label"]
    """Averaged over the batches that hold both types, as a share of the largest; 0 = never seen together."""
    cv: Float64[ndarray, "label label"]
    """Standard deviation over these batches, divided by their mean; NaN where fewer than two hold both types."""
    n_batches: Int64[ndarray, "label label"]
    """How many batches hold both types."""

    @property
    def pairs(self) -> pd.DataFrame:
        """A row for each pair of types seen together: names, distance, cv, n_batches; the least constant first."""
        one, other = np.nonzero(np.triu(self.n_batches))
        names = np.array(self.names, dtype=object)
        table = pd.DataFrame(
            {
                "label": names[one],
                "other": names[other],
                "distance": self.mean[one, other],
                "cv": self.cv[one, other],
                "n_batches": self.n_batches[one, other],
            }
        )
        return table.sort_values("cv", ascending=False, na_position="last", kind="stable", ignore_index=True)

    def figure(self) -> "Figure":
        """Two heat maps, as figure 3.3 of Andrekson (2024): mean distances, and their coefficient of variation."""
        from livelatent.atlas.centroid_figure import centroid_figure

        return centroid_figure(self)

    def __repr__(self) -> str:
        known = self.pairs["cv"].dropna()
        spread = f"CV {known.mean():.3f} ± {known.std(ddof=0):.3f}" if len(known) else "no pair in two batches"
        return f"CentroidDistances({len(self.names)} labels, {len(self.pairs)} pairs seen together, {spread})"


def centroid_distances(
    atlas: Atlas,
    reference: Pca | None = None,
    genes: Int[ndarray, " gene"] | None = None,
    rows: Rows | None = None,
    *,
    mean_total: float | None = None,
    client: Any = None,
    progress: CellProgress | None = None,
) -> CentroidDistances:
    """How far types lie from one another in PCA space, within batches.

    Parameters
    ----------
    reference, genes
        The PCA and the genes that it is of. None: 50 components of 2,000 highly variable genes of these cells.
    rows
        Cells to look at; None means all that QC keeps. Cells without a label have no part in it.

    Raises
    ------
    LabelError
        If fewer than two of the cells have a label.

    Notes
    -----
    Algorithm 1 of Andrekson (2024; docs/equations.md): the Euclidean distance between two types' centroids within each
    batch that holds both, averaged over these batches, divided by the maximum. The coefficient of variation is its
    equation 3.1, of the same distances, with the standard deviation of these batches (n, not n - 1). A low one says
    that batches differ by a shift; small types make it large by chance.
    """
    scale = atlas.mean_total if mean_total is None else mean_total
    chosen = rows_or_kept(rows, atlas)
    chosen = chosen[atlas.label[chosen] >= 0]
    if reference is None or genes is None:
        if chosen.size < 2:
            raise LabelError(
                f"{atlas.path}: distances between types need labelled cells, and {chosen.size} of these have a label. "
                "Name the label column when you ingest, or label cells by hand and write them."
            )
        genes = highly_variable_genes(atlas, N_GENES, chosen, mean_total=scale, client=client, progress=progress)
        n_components = min(N_COMPONENTS, chosen.size - 1, genes.size)
        reference = pca(atlas, genes, n_components, chosen, mean_total=scale, client=client, progress=progress)
    genes = np.asarray(genes, np.int64)
    n_labels, n_batches = len(atlas.label_names), max(len(atlas.batch_names), 1)
    n_groups = n_labels * n_batches
    logs, components = logs_of(atlas, scale), reference.components

    def chunk_sums(counts: sparse.csr_matrix, chunk: Rows) -> tuple[ndarray, ndarray]:
        group = atlas.batch[chunk].astype(np.int64) * n_labels + atlas.label[chunk]
        member = sparse.csr_matrix((np.ones(group.size), (group, np.arange(group.size))), (n_groups, group.size))
        # Summed up while sparse, and turned then: no chunk is ever dense.
        return (member @ logs(counts, chunk)[:, genes]) @ components.T, np.bincount(group, minlength=n_groups)

    sums, n_cells = np.zeros((n_groups, reference.components.shape[0])), np.zeros(n_groups, np.int64)
    for part_sums, part_cells in map_cells(
        chunk_sums, atlas, chosen, client=client, progress=progress, what="centroids"
    ):
        sums += part_sums
        n_cells += part_cells
    # Where the mean lies is no matter: it is the same for all, and goes out of every distance.
    centroid = (sums / np.maximum(n_cells, 1)[:, None]).reshape(n_batches, n_labels, -1)
    mean, cv, together = distances_within(centroid, n_cells.reshape(n_batches, n_labels) > 0)
    return CentroidDistances(tuple(atlas.label_names), mean, cv, together)


def distances_within(
    centroid: Float64[ndarray, "batch label component"], seen: Bool[ndarray, "batch label"]
) -> tuple[Float64[ndarray, "label label"], Float64[ndarray, "label label"], Int64[ndarray, "label label"]]:
    """Mean distance over the batches that hold both types, as a share of the largest; its CV; how many batches."""
    n_labels = centroid.shape[1]
    sums, squares = np.zeros((n_labels, n_labels)), np.zeros((n_labels, n_labels))
    n_batches = np.zeros((n_labels, n_labels), np.int64)
    apart = [np.linalg.norm(points[:, None, :] - points[None, :, :], axis=2) for points in centroid]
    both = [np.outer(present, present) & ~np.eye(n_labels, dtype=bool) for present in seen]
    for distance, pair in zip(apart, both, strict=True):
        sums += np.where(pair, distance, 0)
        n_batches += pair
    together = n_batches > 0
    mean = np.divide(sums, n_batches, out=np.zeros_like(sums), where=together)
    for distance, pair in zip(apart, both, strict=True):
        squares += np.where(pair, (distance - mean) ** 2, 0)
    cv = np.full_like(mean, np.nan)
    np.divide(np.sqrt(squares / np.maximum(n_batches, 1)), mean, out=cv, where=(n_batches > 1) & (mean > 0))
    if mean.max(initial=0) > 0:
        mean /= mean.max()
    # Two types with one centroid were seen together all the same.
    return np.where(together, np.maximum(mean, np.finfo(np.float64).tiny), 0.0), cv, n_batches
