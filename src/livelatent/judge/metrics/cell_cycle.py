"""Cell-cycle conservation: the variance that the cycle explains, before and after, batch by batch."""

import numpy as np

from livelatent.arrays import Float, ndarray
from livelatent.errors import UndefinedMetricError
from livelatent.judge.metrics.pcr import covariate_variance
from livelatent.judge.metrics.unintegrated import Unintegrated

__all__ = ["cell_cycle"]


def cell_cycle(before: Unintegrated, after: Float[ndarray, "cell latent"]) -> float:
    """Mean over batches of 1 - |after - before| / before, 0 at least (equation 2.32).

    Before and after are the shares of a batch's variance that S and G2/M scores explain, in principal components of
    its expression and in the latent.

    Raises
    ------
    UndefinedMetricError
        If the cells have no cycle scores, or no batch is left.

    Notes
    -----
    As in scib (scib-metrics has none). There all batches count, here those with at least ten cells; a batch whose cells
    lie on one point after integration has lost its cycle and counts 0.
    """
    if before.cycle is None or before.cycle_batch is None or before.cycle_variance is None:
        raise UndefinedMetricError("It needs the cycle's genes: give `before=unintegrated(..., cell_cycle=...)`.")
    kept = []
    for code in np.unique(before.cycle_batch):
        share = before.cycle_variance.get(int(code), 0.0)
        if share > 0:
            own = before.cycle_batch == code
            kept.append(max(0.0, 1 - abs(_explained(after[own], before.cycle[own]) - share) / share))
    if not kept:
        raise UndefinedMetricError("It needs a batch of ten cells whose expression follows the cycle; there is none.")
    return float(np.mean(kept))


def _explained(after: Float[ndarray, "cell latent"], scores: Float[ndarray, "cell phase"]) -> float:
    return covariate_variance(after, scores) if (after != after[0]).any() else 0.0
