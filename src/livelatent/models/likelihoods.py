"""How likely expression is under what a decoder says, gene by gene."""

from torch import Tensor

from livelatent.arrays import Float


def squared_error_nll(
    x: Float[Tensor, "cell gene"], mean: Float[Tensor, "cell gene"], variance: float | int
) -> Float[Tensor, "cell gene"]:
    r"""Negative log likelihood of a Gaussian of fixed variance, but for its constant.

    Notes
    -----
    :math:`(x - \mu)^2 / 2 \sigma^2`; the constant :math:`\frac12 \log 2 \pi \sigma^2` moves no weight.
    """
    return (x - mean).square() / (2 * variance)
