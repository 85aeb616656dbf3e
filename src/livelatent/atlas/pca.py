"""Principal components of an atlas, by streaming."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import CHUNK_CELLS, gene_moments, logs_of, map_cells, rows_or_kept
from livelatent.progress import CellProgress
from livelatent.threads import one_thread

EXACT_GENES = 4_000
"""Up to here the genes' covariance is summed up (128 MB a thread); above, components are found by iteration."""
N_EXTRA = 20
"""Directions iterated beside those wanted: the more, the fewer passes."""
MAX_PASSES = 30
TOLERANCE = 1e-9
"""Iteration ends when no variance wanted has changed by more than this share in a pass."""


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
    progress: CellProgress | None = None,
    seed: int = 0,
) -> Pca:
    """PCA by streaming: exact, from the genes' covariance, or for many genes by randomised iteration.

    Parameters
    ----------
    rows
        Cells to learn from; None means all that QC keeps.
    seed
        Of the directions that the iteration starts from; up to 4,000 genes nothing is random.

    Raises
    ------
    ValueError
        If more components are asked for than cells - 1 or genes allow.

    Notes
    -----
    Memory of the exact form is 8 bytes times genes squared per thread: 32 MB for 2,000 genes, one pass. The other
    (Halko et al. 2011, algorithm 4.4, with 20 directions more than wanted) holds 8 bytes times genes times
    directions, and passes over the atlas until the variances stand still, 30 times at most.
    """
    genes = np.asarray(genes, np.int64)
    scale = atlas.mean_total if mean_total is None else mean_total
    chosen = rows_or_kept(rows, atlas)
    if not 1 <= n_components <= min(chosen.size - 1, genes.size):
        raise ValueError(
            f"n_components must lie in 1..{max(min(chosen.size - 1, genes.size), 0)} "
            f"({chosen.size} cells x {genes.size} genes); got {n_components}."
        )
    if genes.size <= EXACT_GENES:
        mean, variance, vectors = _from_covariance(atlas, genes, chosen, scale, client, progress)
    else:
        mean, variance, vectors = _by_iteration(atlas, genes, n_components, chosen, scale, client, progress, seed)
    components = vectors[:, ::-1][:, :n_components].T
    largest = np.abs(components).argmax(axis=1)
    components = components * np.where(components[np.arange(n_components), largest] < 0, -1.0, 1.0)[:, None]
    return Pca(components, mean, np.maximum(variance[::-1][:n_components], 0))


Parts = tuple[Float64[ndarray, " gene"], Float64[ndarray, " component"], Float64[ndarray, "gene component"]]
"""Mean, variances and components, the least first."""


def _from_covariance(
    atlas: Atlas, genes: Int[ndarray, " gene"], rows: Rows, scale: float, client: Any, progress: CellProgress | None
) -> Parts:
    # A rough centre (the first chunk's mean) keeps the sums of squares small against what is subtracted from them.
    head, logs = rows[:CHUNK_CELLS], logs_of(atlas, scale)
    first = logs(atlas.read_cells(head), head)[:, genes]
    rough = np.asarray(first.mean(axis=0), np.float64).ravel()

    def chunk_sums(counts: sparse.csr_matrix, chunk: Rows) -> tuple[ndarray, ndarray]:
        x = logs(counts, chunk)[:, genes].toarray() - rough
        # Chunks run side by side already, and on any worker the same bits are wanted.
        with one_thread():
            return x.sum(axis=0), x.T @ x

    total, squares = np.zeros(genes.size), np.zeros((genes.size, genes.size))
    for part_total, part_squares in map_cells(
        chunk_sums, atlas, rows, client=client, progress=progress, what="covariance of genes"
    ):
        total += part_total
        squares += part_squares
    centre = total / rows.size
    with one_thread():
        variance, vectors = np.linalg.eigh((squares - rows.size * np.outer(centre, centre)) / (rows.size - 1))
    return rough + centre, variance, vectors


def _by_iteration(
    atlas: Atlas,
    genes: Int[ndarray, " gene"],
    n_components: int,
    rows: Rows,
    scale: float,
    client: Any,
    progress: CellProgress | None,
    seed: int,
) -> Parts:
    mean = gene_moments(atlas, rows, mean_total=scale, client=client, progress=progress).mean[genes]
    logs = logs_of(atlas, scale)
    n_directions = min(n_components + N_EXTRA, genes.size, rows.size - 1)
    start = np.random.default_rng(seed).standard_normal((genes.size, n_directions))

    def scatter_times(directions: Float64[ndarray, "gene direction"], n_pass: int) -> ndarray:
        """The centred scatter matrix times some directions."""

        def chunk_product(counts: sparse.csr_matrix, chunk: Rows) -> ndarray:
            x = logs(counts, chunk)[:, genes]
            # Sparse: the mean is taken out of the products.
            along = x @ directions - mean @ directions
            return np.asarray(x.T @ along - np.outer(mean, along.sum(axis=0)))

        product = np.zeros((genes.size, n_directions))
        what = f"components, pass {n_pass}"
        for part in map_cells(chunk_product, atlas, rows, client=client, progress=progress, what=what):
            product += part
        return product

    with one_thread():
        directions, _ = np.linalg.qr(start)
        before = np.zeros(n_components)
        for n_pass in range(1, MAX_PASSES + 1):
            product = scatter_times(directions, n_pass)
            # Rayleigh and Ritz: the best combinations of these directions, and their variances.
            small = directions.T @ product
            value, turn = np.linalg.eigh((small + small.T) / 2)
            variance, vectors = value / (rows.size - 1), directions @ turn
            wanted = variance[::-1][:n_components]
            if (np.abs(wanted - before) <= TOLERANCE * max(float(wanted[0]), np.finfo(np.float64).tiny)).all():
                break
            before = wanted
            directions, _ = np.linalg.qr(product)
    return mean, variance, vectors
