"""Augmentations of section 4.1 of Andrekson (2024), for training minibatches only."""

import torch
from torch import Tensor, nn

from livelatent.arrays import Float, Int

__all__ = ["Augmentation"]


class Augmentation(nn.Module):
    """Genes masked at random, and values replaced by draws from the gene's distribution in the cell's type.

    Parameters
    ----------
    mask_share
        Of a cell's values, set to 0; each by itself.
    replace_share
        Of a cell's values, replaced by a draw from a Gaussian of the mean and standard deviation that the gene has in
        the cell's type over the training cells. A value can be chosen for both, and is then masked.

    Notes
    -----
    A draw below 0 becomes 0: x is a log1p of counts, which a network never sees below.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, n_types: int, n_genes: int, mask_share: float, replace_share: float) -> None:
        super().__init__()
        for name, share in (("mask_share", mask_share), ("replace_share", replace_share)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is a share of a cell's values, from 0 up to less than 1; got {share}.")
        self.mask_share, self.replace_share = mask_share, replace_share
        # Types x genes: only where something is drawn from them.
        shape = (n_types, n_genes) if replace_share else (0, n_genes)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.zeros(shape))

    def forward(self, x: Float[Tensor, "cell gene"], label: Int[Tensor, " cell"]) -> Float[Tensor, "cell gene"]:
        """Another minibatch of the same cells; all have a label."""
        if self.replace_share:
            drawn = (self.mean[label] + self.deviation[label] * torch.randn_like(x)).clamp(min=0)
            x = torch.where(torch.rand_like(x) < self.replace_share, drawn, x)
        if self.mask_share:
            x = x * (torch.rand_like(x) >= self.mask_share)
        return x
