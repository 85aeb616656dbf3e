"""Expression that a Gaussian likelihood can bear, or an error."""

import torch
from torch import Tensor

from livelatent.arrays import Float
from livelatent.errors import CountsError

CELLS_LOOKED_AT = 16
"""Cells of a minibatch: enough to tell counts from their logarithms, and nothing beside a step's work."""


def check_logs(x: Float[Tensor, "cell gene"], mean_total: float, model: str) -> None:
    """Raise on counts where log1p(count * mean_total / total) is wanted; on the CPU, the first cells only.

    Raises
    ------
    CountsError
        If a value is above log1p(mean_total), which a cell reaches when one gene has all its counts; below 0 or not
        finite; or if all are whole numbers, some of them above 0.

    Notes
    -----
    Document 003 found that raw counts make the gradient unstable; the squared error of a count of 10,000 does. On
    another device nothing is looked at: reading a value back would halt it at each step.
    """
    if x.device.type != "cpu" or not len(x):
        return
    seen = x[:CELLS_LOOKED_AT]
    low, high = float(seen.min()), float(seen.max())
    most = float(torch.log1p(torch.tensor(mean_total)))
    is_whole = high > 0 and bool((seen == seen.round()).all())
    if is_whole or not (low >= 0 and high <= most * (1 + 1e-5)):
        what = "whole numbers only" if is_whole else f"values from {low:g} to {high:g}"
        raise CountsError(
            f"{model} reads log1p(count * mean_total / total), which lies between 0 and {most:.3g} here and is no "
            f"whole number; the minibatch holds {what}, as counts do. Stream it with values='log1p' and the model's "
            "mean_total, or train with `Run`, which does both."
        )
