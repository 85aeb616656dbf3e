"""The centroid term: types lie as far apart as they do in the expression data (equation 2.16, docs/equations.md)."""

import torch
from torch import Tensor

from livelatent.arrays import Float, Int


def centroid(
    latent: Float[Tensor, "cell latent"],
    label: Int[Tensor, " cell"],
    reference: Float[Tensor, "label label"],
) -> Float[Tensor, ""]:
    """Mean squared difference between the distances of the types' centroids and the reference's.

    Parameters
    ----------
    label
        Codes, none of them -1.
    reference
        Distances between types before training; 0 where two types were never seen together in a batch.

    Returns
    -------
    The loss; 0 where fewer than two types are present, or none of the pairs was seen together.

    Notes
    -----
    Algorithm 1 and equation 2.16 of Andrekson (2024). Both sides are divided by their largest distance among the
    types present, so the scale of `latent` does not matter.
    """
    onehot = torch.nn.functional.one_hot(label, len(reference)).to(latent.dtype)
    count = onehot.sum(0)
    present = count.nonzero().squeeze(1)
    if len(present) < 2:
        return latent.sum() * 0
    centroids = (onehot.T @ latent)[present] / count[present].unsqueeze(1)
    # The product form of cdist loses digits where centroids are close and far from 0.
    distance = torch.cdist(centroids, centroids, compute_mode="donot_use_mm_for_euclid_dist")
    wanted = reference[present][:, present]
    tiny = torch.finfo(latent.dtype).tiny
    distance = distance / distance.max().clamp(min=tiny)
    seen = (wanted > 0).to(latent.dtype)
    wanted = wanted / wanted.max().clamp(min=tiny)
    return ((distance - wanted).square() * seen).sum() / seen.sum().clamp(min=1)
