"""Principal components of log expression, kept with a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.pca import pca

__all__ = ["Projection", "principal_vectors"]

N_COMPONENTS = 50


@dataclass(frozen=True)
class Projection:
    """Principal components of log expression."""

    components: Float[ndarray, "component gene"]
    mean: Float[ndarray, " gene"]

    @classmethod
    def fit(cls, atlas: Atlas, genes: Int[ndarray, " gene"], rows: Rows, mean_total: float) -> "Projection":
        """50 components by streaming, or as many as the cells and genes allow; one of zeros for a single cell."""
        n_components = min(N_COMPONENTS, len(rows) - 1, len(genes))
        if n_components < 1:
            return cls(np.zeros((1, len(genes)), np.float32), np.zeros(len(genes), np.float32))
        fitted = pca(atlas, genes, n_components, rows, mean_total=mean_total)
        return cls(np.asarray(fitted.components, np.float32), np.asarray(fitted.mean, np.float32))

    @classmethod
    def of_cells(cls, x: sp.csr_matrix) -> "Projection":
        """The same of cells in memory: rows of log expression, sparse."""
        n_components = min(N_COMPONENTS, x.shape[0] - 1, x.shape[1])
        if n_components < 1:
            return cls(np.zeros((1, x.shape[1]), np.float32), np.zeros(x.shape[1], np.float32))
        mean, vectors = principal_vectors([x], n_components)
        return cls(np.asarray(vectors.T, np.float32), np.asarray(mean, np.float32))

    def __call__(self, x: Any) -> Float[ndarray, "cell component"]:
        """PCs of log expression, dense or scipy sparse."""
        return np.asarray(x @ self.components.T - self.mean @ self.components.T, np.float32)


def principal_vectors(
    parts: Sequence[sp.csr_matrix], n_components: int
) -> tuple[Float[ndarray, " gene"], Float[ndarray, "gene component"]]:
    """Mean, and the directions of greatest variance of all cells of all parts together; cells are rows.

    Notes
    -----
    From the genes' covariance, exact: 2,000 genes are a matrix of 32 MB.
    """
    from scipy.linalg import eigh

    n_cells, n_genes = sum(part.shape[0] for part in parts), parts[0].shape[1]
    mean = np.asarray(sum(np.asarray(part.sum(axis=0)).ravel() for part in parts), np.float64) / n_cells
    products = np.zeros((n_genes, n_genes))
    for part in parts:
        products += (part.T @ part).toarray()
    covariance = products / n_cells - np.outer(mean, mean)
    _, vectors = eigh(covariance, subset_by_index=(n_genes - n_components, n_genes - 1))
    return mean, vectors
