"""The price of a posterior that differs from the prior (Kingma and Welling 2014, appendix B)."""

import torch
from torch import Tensor

from livelatent.arrays import Float


def gaussian_kl(
    mean: Float[Tensor, "cell latent"], log_variance: Float[Tensor, "cell latent"]
) -> Float[Tensor, "cell latent"]:
    r"""KL(q(z|x) || N(0, I)) of a Gaussian with independent dimensions, dimension by dimension, in nats.

    Notes
    -----
    :math:`\frac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)`. The part in the variance alone is taken by `expm1`, since
    a collapsed posterior's is the difference of nearly equal numbers.
    """
    return 0.5 * (mean.square() + (torch.expm1(log_variance) - log_variance))
