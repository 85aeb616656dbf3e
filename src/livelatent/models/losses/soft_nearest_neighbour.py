"""The cell-type term: cells of one type lie together (equations 2.9 and 2.13, docs/equations.md)."""

import torch
from torch import Tensor

from livelatent.arrays import Float, Int
from livelatent.models.losses.class_weights import weighted_class_mean


def soft_nearest_neighbour(
    similarity: Float[Tensor, "cell cell"],
    label: Int[Tensor, " cell"],
    weight: Float[Tensor, " label"],
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    r"""Soft nearest-neighbour loss of labelled cells.

    Parameters
    ----------
    similarity
        exp((cos - 1) / tau) with a zero diagonal.
    label
        Codes, none of them -1.
    weight
        Per type, from `class_weights`.

    Returns
    -------
    The loss, and how many anchors had no other cell of their type in the minibatch: they add nothing.

    Notes
    -----
    :math:`-\log \frac{\sum_{k \ne b, y_k = y_b} \alpha_b(k)}{\sum_{k \ne b} \alpha_b(k)}`, equation 2.9 of
    Andrekson (2024), averaged per type and weighted (2.13); the soft nearest-neighbour loss of Frosst, Papernot and
    Hinton (ICML 2019).
    """
    onehot = torch.nn.functional.one_hot(label, len(weight)).to(similarity.dtype)
    by_label = similarity @ onehot
    own = label.unsqueeze(1)
    positive = by_label.gather(1, own).squeeze(1)
    # The sum over the others is taken without the positives, so that their ratio keeps its digits near 0 loss.
    negative = by_label.scatter(1, own, 0.0).sum(1)
    counted = (onehot.sum(0)[label] > 1).to(similarity.dtype)
    tiny = torch.finfo(similarity.dtype).tiny
    value = torch.log1p(negative / positive.clamp(min=tiny))
    value = torch.where(counted > 0, value, 0.0)
    return weighted_class_mean(value, counted, onehot, weight), (counted == 0).sum()
