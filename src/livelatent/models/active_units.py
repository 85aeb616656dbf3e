"""Which latent dimensions say anything about the cell."""

import torch
from torch import Tensor

from livelatent.arrays import Bool, Float

ACTIVE_VARIANCE = 0.01
"""Variance of the posterior means over cells above which a dimension is active (Burda et al. 2016, section 5.2)."""

ALARM_SHARE = 0.1
"""A model with a smaller share of active dimensions has collapsed."""


ONE_LENGTH = 1e-3
"""Lengths of latents that differ by less, relative to their mean, are one length."""

ALARM_COSINE = 0.98
"""Cells whose latents have a larger mean cosine with each other are one point to a model that sees directions only."""


def active_units(mean: Float[Tensor, "cell latent"]) -> Bool[Tensor, " latent"]:
    """Whether the posterior mean of each dimension differs between cells.

    Notes
    -----
    Cov_x(E[z|x]) > 0.01 of [1]_: the prior has variance 1, so that a dimension below tells less than a hundredth of
    it apart.

    References
    ----------
    .. [1] Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders.
    """
    return mean.double().var(dim=0, correction=0) > ACTIVE_VARIANCE


def collapse_alarm(n_active: int, n_latent: int) -> str | None:
    """What to tell a person about a latent that says next to nothing; None where it says enough."""
    if n_active >= max(ALARM_SHARE * n_latent, 1):
        return None
    return (
        f"The posterior has collapsed: {n_active} of {n_latent} latent dimensions differ between cells, so the map, "
        'the prototypes and the flags mean little. Sum the reconstruction over genes (reconstruction="sum"), lower '
        "beta, or warm the KL up over more epochs."
    )


def latent_alarm(latent: Float[Tensor, "cell latent"]) -> str | None:
    """What to tell a person about a latent of any make that says next to nothing; None where it says enough.

    Notes
    -----
    Cells of one length lie on a sphere, be it by design or because they are one point: there the mean cosine tells, as
    for a model that sees directions only. All others are held to the prior of a variational autoencoder, variance 1
    (`active_units`): an autoencoder without a prior that keeps every dimension within a tenth is told so in vain.
    """
    if len(latent) < 2 or not torch.isfinite(latent).all():
        return None
    length = latent.double().norm(dim=1)
    if float(length.min()) > 0 and float(length.max() - length.min()) < ONE_LENGTH * float(length.mean()):
        cosine = mean_cosine(torch.nn.functional.normalize(latent.double()))
        if cosine <= ALARM_COSINE:
            return None
        what = f"any two cells point the same way (mean cosine {cosine:.3f})"
    else:
        n_active, n_latent = int(active_units(latent).sum()), latent.shape[1]
        if n_active >= max(ALARM_SHARE * n_latent, 1):
            return None
        what = f"{n_active} of {n_latent} latent dimensions differ between cells by more than a tenth"
    return (
        f"The latent has collapsed: {what}, so the map, the prototypes and the flags mean little. Lower the weight of "
        "a KL or other term that draws cells together, warm it up over more epochs, or lower the learning rate."
    )


def mean_cosine(unit: Float[Tensor, "cell latent"]) -> float:
    """Mean cosine between two different cells, of latents of length 1."""
    n_cells = len(unit)
    total = float(unit.double().sum(0).square().sum())
    return (total - n_cells) / (n_cells * (n_cells - 1))


def point_alarm(unit: Float[Tensor, "cell latent"]) -> str | None:
    """What to tell a person where all cells have become one point; None where they have not."""
    if len(unit) < 2 or not torch.isfinite(unit).all() or (cosine := mean_cosine(unit)) <= ALARM_COSINE:
        return None
    return (
        f"The latent has collapsed: any two cells point the same way (mean cosine {cosine:.3f}), so the map, the "
        "prototypes and the flags mean little. Lower the learning rate and train again from the start, or give the "
        "cell-type term more weight than the batch term."
    )
