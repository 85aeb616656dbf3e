"""Average silhouette width by batch, within each label."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.silhouette import silhouette_samples

__all__ = ["silhouette_batch"]


def silhouette_batch(
    points: Float[ndarray, "cell dim"], label: Int[ndarray, " cell"], batch: Int[ndarray, " cell"]
) -> float:
    """Mean over labels of the mean of 1 - |width| of a label's cells, grouped by batch (equation 2.26).

    Raises
    ------
    UndefinedMetricError
        If no label has cells in two batches, and two in one of them.

    Notes
    -----
    As scib and scib-metrics have it: labels of a single batch, and those with one cell per batch, say nothing and are
    left out of the mean.
    """
    means = []
    for code in np.unique(label):
        own = label == code
        if 2 <= len(np.unique(batch[own])) < own.sum():
            means.append((1 - np.abs(silhouette_samples(points[own], batch[own]))).mean())
    if not means:
        raise UndefinedMetricError("The silhouette by batch needs a label with cells in two batches; there is none.")
    return float(np.mean(means))
