"""The similarity matrix that the contrastive terms share."""

import torch
from torch import Tensor

from livelatent.arrays import Float


def exponential_similarity(
    cosine: Float[Tensor, "cell cell"], temperature: Float[Tensor, ""] | float
) -> Float[Tensor, "cell cell"]:
    """exp((cosine - 1) / temperature) with a zero diagonal: no cell is its own neighbour.

    Every sum over positives or negatives is then one product with a one-hot matrix (EVIDENCE, lesson 1); the
    shift by 1 cancels in the ratios and keeps the exponential in (0, 1].
    """
    similarity = torch.exp((cosine - 1) / temperature)
    return similarity - torch.diag_embed(similarity.diagonal())
