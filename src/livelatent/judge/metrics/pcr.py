"""Principal component regression: how much of the variance a covariate explains, before and after."""

import numpy as np

from livelatent.arrays import Float, Int, ndarray
from livelatent.errors import UndefinedMetricError

__all__ = ["batch_variance", "covariate_variance", "pcr"]


def pcr(
    before: Float[ndarray, "cell component"] | None, after: Float[ndarray, "cell latent"], batch: Int[ndarray, " cell"]
) -> float:
    """(before - after) / before of the variance share that batches explain; 0 where it grew.

    Parameters
    ----------
    before
        Principal components of the expression, 50 as a rule; None where there is none at hand.

    Raises
    ------
    UndefinedMetricError
        If there is one batch or no expression, or batches explain nothing before.
    """
    n_batches = len(np.unique(batch))
    if n_batches < 2:
        raise UndefinedMetricError(f"PCR compares batches, so it needs at least 2; got {n_batches}.")
    if before is None:
        raise UndefinedMetricError("PCR compares with the expression: give `before=unintegrated(...)`.")
    share = batch_variance(before, batch)
    if share <= 0:
        raise UndefinedMetricError("PCR divides by the variance that batches explain before; they explain none.")
    return float(max(share - batch_variance(after, batch), 0.0) / share)


def batch_variance(points: Float[ndarray, "cell dim"], group: Int[ndarray, " cell"]) -> float:
    """Share of the variance that lies between groups, in 0 to 1.

    Notes
    -----
    Equation 2.27, sum over components of Var(C|PC) R^2(PC|B), divided by the variance of all components. With all
    components of `points` the sum does not depend on the axes: a component's variance times its R^2 is what lies
    between groups along it, and added up that is the trace of a matrix. So no PCA and no regression is needed;
    scib-metrics does both and gets the same number.
    """
    centred = _centred(points)
    group, count = np.unique(group, return_inverse=True, return_counts=True)[1:]
    total = np.zeros((len(count), centred.shape[1]))
    np.add.at(total, group, centred)
    return _share(float((total**2 / count[:, None]).sum()), centred)


def covariate_variance(points: Float[ndarray, "cell dim"], covariate: Float[ndarray, "cell covariate"]) -> float:
    """Share of the variance that a linear fit on numeric covariates explains, in 0 to 1."""
    centred = _centred(points)
    left, size, _ = np.linalg.svd(_centred(covariate), full_matrices=False)
    # Directions of no length (a constant covariate, or one that repeats another) explain nothing.
    basis = left[:, size > size.max(initial=0) * 1e-10]
    return _share(float(((basis.T @ centred) ** 2).sum()), centred)


def _centred(values: Float[ndarray, "cell dim"]) -> Float[ndarray, "cell dim"]:
    values = np.asarray(values, np.float64)
    return np.asarray(values - values.mean(axis=0))


def _share(explained: float, centred: Float[ndarray, "cell dim"]) -> float:
    total = float((centred**2).sum())
    if total <= 0:
        raise UndefinedMetricError("A share of the variance is undefined: all cells lie on one point.")
    return explained / total
