"""Principal components of log expression, kept with a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.pca import pca

__all__ = ["Projection"]

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

    def __call__(self, x: Any) -> Float[ndarray, "cell component"]:
        """PCs of log expression, dense or scipy sparse."""
        return np.asarray(x @ self.components.T - self.mean @ self.components.T, np.float32)
