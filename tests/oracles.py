"""What passes must give, the slow way, in memory."""

import anndata
import numpy as np

from livelatent.atlas import Atlas


def log_counts(atlas: Atlas, rows: np.ndarray, mean_total: float) -> np.ndarray:
    """Log counts (equations 2.3 to 2.5), the slow way."""
    counts = anndata.read_zarr(atlas.path).X[rows].toarray().astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    # One factor per cell: two counts of one share of their cells then tie, or not, as they do in the pass.
    return np.log1p(counts * np.where(total > 0, mean_total / np.where(total > 0, total, 1), 0))
