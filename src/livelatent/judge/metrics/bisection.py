"""One positive number per cell at which a rising function of it meets a target."""

from collections.abc import Callable

import numpy as np

from livelatent.arrays import Bool, Float, ndarray

__all__ = ["bisected"]


def bisected(
    rises: Callable[[Float[ndarray, " cell"]], Float[ndarray, " cell"]],
    is_sought: Bool[ndarray, " cell"],
    target: float,
    *,
    tolerance: float,
    steps: int,
) -> Float[ndarray, " cell"]:
    """All cells at once, from 1 by doubling and then by halving the bracket; where nothing is sought it stays 1.

    Parameters
    ----------
    rises
        Each cell's value at its own number, the larger the larger.
    tolerance
        A cell rests once its value is so near to the target.
    """
    low, high, x = np.zeros(len(is_sought)), np.full(len(is_sought), np.inf), np.ones(len(is_sought))
    moving = is_sought.copy()
    for _ in range(steps):
        found = rises(x)
        moving &= np.abs(found - target) >= tolerance
        if not moving.any():
            break
        above = found > target
        high = np.where(moving & above, x, high)
        low = np.where(moving & ~above, x, low)
        with np.errstate(invalid="ignore"):
            halved = np.where(np.isfinite(high), (low + high) / 2, x * 2)
        x = np.where(moving, halved, x)
    return x
