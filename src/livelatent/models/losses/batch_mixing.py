"""The batch term: cells of one type lie together whatever their batch (equations 2.11 and 2.14, docs/equations.md)."""

from typing import Literal

import torch
from torch import Tensor

from livelatent.arrays import Float, Int
from livelatent.models.losses.class_weights import weighted_class_mean

BatchTerm = Literal["bounded", "inverse"]

LEAST_LOG_RATIO = 1e-3
"""The guard of the inverse form: -1/log(r) has no bound as r goes to 1, and stops at 1,000 here.

The largest value measured, on fully separated batches of 99:1, was 105."""


def batch_mixing(
    similarity: Float[Tensor, "cell cell"],
    label: Int[Tensor, " cell"],
    batch: Int[Tensor, " cell"],
    weight: Float[Tensor, " batch"],
    form: BatchTerm,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    r"""How far same-batch cells are singled out among the cells of the anchor's own type.

    Parameters
    ----------
    similarity
        exp((cos - 1) / tau) with a zero diagonal.
    label
        Codes, none of them -1.
    batch
        Codes; a cell of -1 is of no batch, and neither an anchor nor a neighbour.
    weight
        Per batch, from `class_weights`.
    form
        `"inverse"` is equation 2.11; `"bounded"` is 0 at perfect mixing and at most log(1 + n_neg / n_pos).

    Returns
    -------
    The loss, and how many anchors were left out, because their type has no other cell of their batch in the
    minibatch or none of another batch; cells of no batch are among them.

    Notes
    -----
    With :math:`r_b` the share of same-batch cells in the anchor's same-type similarity and :math:`l = -\log r_b`,
    equation 2.11 of Andrekson (2024) is :math:`1/l`, which follows the batches' imbalance more than their mixing (1.5,
    4.6, 25 for batches mixed perfectly at 1:1, 9:1, 99:1); the default of the models,
    :math:`\max(0, \log(1 + n_{neg}/n_{pos}) - l)`, is 0 there.
    """
    same_type = similarity.masked_fill(label.unsqueeze(1) != label, 0.0)
    # A cell of no batch is nobody's neighbour: its row is all zero.
    batch_onehot = torch.nn.functional.one_hot(batch + 1, len(weight) + 1)[:, 1:].to(similarity.dtype)
    by_batch = same_type @ batch_onehot
    own = batch.clamp(min=0).unsqueeze(1)
    same = by_batch.gather(1, own).squeeze(1)
    # Summed without the anchor's own batch, so that the ratio keeps its digits where batches are far apart.
    other = by_batch.scatter(1, own, 0.0).sum(1)
    with torch.no_grad():
        types, own_type = torch.unique(label, return_inverse=True)
        in_type = torch.nn.functional.one_hot(own_type, max(len(types), 1)).to(similarity.dtype)
        number = (in_type.T @ batch_onehot)[own_type]
        n_same = number.gather(1, own).squeeze(1) - 1
        n_other = number.sum(1) - 1 - n_same
        counted = (batch >= 0) & (n_same > 0) & (n_other > 0)

    tiny = torch.finfo(similarity.dtype).tiny
    log_ratio = torch.log1p(other / torch.where(counted, same, 1.0).clamp(min=tiny))
    if form == "inverse":
        value = 1 / log_ratio.clamp(min=LEAST_LOG_RATIO)
    else:
        value = torch.relu(torch.log1p(n_other / n_same.clamp(min=1)) - log_ratio)
    value = torch.where(counted, value, 0.0)
    return weighted_class_mean(value, counted.to(similarity.dtype), batch_onehot, weight), (~counted).sum()
