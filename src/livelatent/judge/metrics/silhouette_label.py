"""Average silhouette width by label."""

from livelatent.arrays import Float, ndarray

__all__ = ["silhouette_label"]


def silhouette_label(width: Float[ndarray, " cell"]) -> float:
    """Mean width of all cells, grouped by label, rescaled: (ASW + 1) / 2 (equation 2.25).

    Parameters
    ----------
    width
        What `silhouette_samples` gives for the labels.
    """
    return float((width.mean() + 1) / 2)
