"""The similarity matrix that the contrastive terms share."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from livelatent.arrays import Float


def exponential_similarity(
    cosine: Float[Tensor, "cell cell"], temperature: Float[Tensor, ""] | float
) -> Float[Tensor, "cell cell"]:
    """exp((cosine - 1) / temperature) with a zero diagonal: no cell is its own neighbour.

    Every sum over positives or negatives is then one product with a one-hot matrix; the
    shift by 1 cancels in the ratios and keeps the exponential in (0, 1].
    """
    if not isinstance(temperature, Tensor):
        temperature = cosine.new_tensor(temperature)
    similarity: Tensor = _ExponentialSimilarity.apply(cosine, temperature)
    return similarity


class _ExponentialSimilarity(Function):
    """Its passes over cells x cells, written out.

    As separate operations, with the diagonal subtracted as a matrix, and with one column per pair of type and batch in
    the batch term, forward and backward of the loss at 1,024 cells took 63 ms of CPU; so 36 (benchmarks/losses.py).
    """

    @staticmethod
    def forward(ctx: Any, cosine: Tensor, temperature: Tensor) -> Tensor:
        shifted = cosine - 1
        similarity = (shifted / temperature).exp_().fill_diagonal_(0)
        ctx.save_for_backward(shifted, similarity, temperature)
        return similarity

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        shifted, similarity, temperature = ctx.saved_tensors
        weighted = gradient * similarity
        of_temperature = None
        if ctx.needs_input_grad[1]:
            of_temperature = -torch.dot(weighted.flatten(), shifted.flatten()) / temperature.square()
        return weighted.div_(temperature), of_temperature
