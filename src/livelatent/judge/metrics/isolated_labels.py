"""How well the labels that few batches have are told apart: by silhouette, and by the best single cluster."""

from collections.abc import Sequence

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import UndefinedMetricError

__all__ = ["isolated_asw", "isolated_f1", "isolated_labels"]


def isolated_labels(label: Int[ndarray, " cell"], batch: Int[ndarray, " cell"]) -> Int[ndarray, " isolated"]:
    """Labels found in the fewest batches: all of them where each is found in as many, none where there is one batch."""
    if len(np.unique(batch)) < 2:
        return np.empty(0, np.int64)
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

    Raises
    ------
    UndefinedMetricError
        If no label is isolated: there is one batch.

    Notes
    -----
    As scib-metrics has it: the width against the nearest other label, averaged over the isolated label's cells. scib
    groups cells into the label and the rest, and averages over the rest too, which tells how coherent the rest is.
    """
    _check_isolated(isolated)
    return float(np.mean([(width[label == code].mean() + 1) / 2 for code in isolated]))


def isolated_f1(
    clusterings: Sequence[Int[ndarray, " cell"]], label: Int[ndarray, " cell"], isolated: Int[ndarray, " isolated"]
) -> float:
    """Mean over isolated labels of the best F1 that any cluster of any clustering has for them (2.29 to 2.31).

    Raises
    ------
    UndefinedMetricError
        If no label is isolated: there is one batch.
    """
    _check_isolated(isolated)
    return float(np.mean([max(_best_f1(cluster, label == code) for cluster in clusterings) for code in isolated]))


def _best_f1(cluster: Int[ndarray, " cell"], own: ndarray) -> float:
    """2 TP / (cells of the cluster + cells of the label), of the best cluster."""
    size = np.bincount(cluster)
    hit = np.bincount(cluster[own], minlength=len(size))
    return float((2 * hit / (size + own.sum())).max())


def _check_isolated(isolated: Int[ndarray, " isolated"]) -> None:
    if not len(isolated):
        raise UndefinedMetricError("Isolated labels are those of the fewest batches, so it needs at least 2; got 1.")
