"""Silhouette width of each cell, in slabs: no cell x cell matrix is ever held."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.threads import one_thread

__all__ = ["silhouette_samples"]

SLAB_BYTES = 8 << 20
# Squared distances below this share of a cell's squared norm are rounding, and taken as 0.
ROUNDING = 1e-13


def silhouette_samples(points: Float[ndarray, "cell dim"], group: Int[ndarray, " cell"]) -> Float[ndarray, " cell"]:
    """(b - a) / max(a, b): a is the mean distance to the own group's other cells, b that to the nearest other group.

    Parameters
    ----------
    group
        A code for each cell, at least two different ones.

    Returns
    -------
    One width per cell in -1 to 1; 0 for a cell that is alone in its group, and where a and b are both 0.

    Notes
    -----
    Equal to `sklearn.metrics.silhouette_samples`. Distances come from |a|^2 - 2ab + |b|^2 in float64.
    """
    codes, group, count = np.unique(group, return_inverse=True, return_counts=True)
    if len(codes) < 2:
        raise ValueError(f"a silhouette compares groups, so it needs at least 2; got {len(codes)}.")
    order = np.argsort(group, kind="stable")
    centred = np.asarray(points, np.float64) - np.asarray(points, np.float64).mean(axis=0)
    # Cells of a group stand side by side, so that their distances are added up without a product.
    to, own = centred[order], group[order]
    square = np.einsum("ij,ij->i", to, to)
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    slab = max(1, SLAB_BYTES // (8 * len(to)))
    width = np.empty(len(to))
    with one_thread():
        for first in range(0, len(to), slab):
            here = slice(first, first + slab)
            distance = to[here] @ to.T
            distance *= -2
            distance += square
            distance += square[here, None] * (1 - ROUNDING)
            np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
            width[here] = _widths(np.add.reduceat(distance, starts, axis=1), own[here], count)
    result = np.empty(len(to))
    result[order] = width
    return result


def _widths(
    total: Float[ndarray, "cell group"], own: Int[ndarray, " cell"], count: Int[ndarray, " group"]
) -> Float[ndarray, " cell"]:
    """From each cell's summed distances to every group."""
    cell = np.arange(len(total))
    within = total[cell, own] / np.maximum(count[own] - 1, 1)
    mean = total / count
    mean[cell, own] = np.inf
    nearest = mean.min(axis=1)
    larger = np.maximum(within, nearest)
    width = np.divide(nearest - within, larger, out=np.zeros(len(total)), where=larger > 0)
    return np.asarray(np.where(count[own] > 1, width, 0.0))
