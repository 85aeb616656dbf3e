"""How much each type or batch counts in a loss (equation 2.12, docs/equations.md)."""

from typing import Literal

import torch
from torch import Tensor

from livelatent.arrays import Float, Int

Weights = Literal["uniform", "thesis"]


def class_weights(counts: Int[Tensor, " klass"], weights: Weights) -> Float[Tensor, " klass"]:
    r"""One weight per class, from its cells in the training set; they sum to 1.

    Parameters
    ----------
    counts
        Training cells of each class.
    weights
        `"thesis"` is :math:`w_i = (1/N_i) / \sum_j 1/N_j`; `"uniform"` is 1/C.

    Notes
    -----
    Equation 2.12 of Andrekson (2024). The default of the models is `"uniform"`: the losses average within a class
    already, so the thesis form gave .60 of all weight to a type with 2 of 770 cells. A class
    with no training cell has weight 0 in the thesis form, where 1/N has no value.

    Examples
    --------
    >>> class_weights(torch.tensor([1, 3]), "thesis")
    tensor([0.7500, 0.2500])
    """
    if weights == "uniform":
        return torch.full((len(counts),), 1 / max(len(counts), 1))
    inverse = torch.where(counts > 0, 1 / counts.clamp(min=1).double(), 0.0)
    return (inverse / inverse.sum().clamp(min=torch.finfo(torch.float64).tiny)).float()


def weighted_class_mean(
    value: Float[Tensor, " anchor"],
    counted: Float[Tensor, " anchor"],
    onehot: Float[Tensor, "anchor klass"],
    weight: Float[Tensor, " klass"],
) -> Float[Tensor, ""]:
    """Sum over classes of weight x the mean over the class's counted anchors (equations 2.13 and 2.14).

    A class without a counted anchor adds nothing; weights are not renormalised over those present.
    """
    sums = (value * counted) @ onehot
    numbers = counted @ onehot
    return (weight * sums / numbers.clamp(min=1)).sum()
