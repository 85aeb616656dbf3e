"""How well the labels that few batches have are told apart: by silhouette, and by the best single cluster."""

from collections.abc import Sequence

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import UndefinedMetricError

__all__ = ["isolated_asw", "isolated_f1", "isolated_labels"]


def isolated_labels(label: Int[ndarray, " cell"], batch: Int[ndarray, " cell"]) -> Int[ndarray, " isolated"]:
    """Labels found in the fewest batches; all of them where all are found in as many.

    Raises
    ------
    UndefinedMetricError
        If there is one batch: then no label is more isolated than another.
    """
    n_batches = len(np.unique(batch))
    if n_batches < 2:
        raise UndefinedMetricError(f"Isolated labels are those of few batches; there is {n_batches} batch.")
    pairs = np.unique(np.stack([label, batch], axis=1), axis=0)
    codes, n_found = np.unique(pairs[:, 0], return_counts=True)
    return np.asarray(codes[n_found == n_found.min()])


def isolated_asw(
    width: Float[ndarray, " cell"], label: Int[ndarray, " cell"], isolated: Int[ndarray, " isolated"]
) -> float:
    """Mean over isolated labels of (ASW + 1) / 2 of their cells.

    Parameters
    ----------
    width
        What `silhouette_samples` gives for all labels.

    Notes
    -----
    As scib-metrics has it: the width against the nearest other label, averaged over the isolated label's cells. scib
    groups cells into the label and the rest, and averages over the rest too, which tells how coherent the rest is.
    """
    return float(np.mean([(width[label == code].mean() + 1) / 2 for code in isolated]))


def isolated_f1(
    clusterings: Sequence[Int[ndarray, " cell"]], label: Int[ndarray, " cell"], isolated: Int[ndarray, " isolated"]
) -> float:
    """Mean over isolated labels of the best F1 that any cluster of any clustering has for them (2.29 to 2.31)."""
    return float(np.mean([max(_best_f1(cluster, label == code) for cluster in clusterings) for code in isolated]))


def _best_f1(cluster: Int[ndarray, " cell"], own: ndarray) -> float:
    """2 TP / (cells of the cluster + cells of the label), of the best cluster."""
    size = np.bincount(cluster)
    hit = np.bincount(cluster[own], minlength=len(size))
    return float((2 * hit / (size + own.sum())).max())
