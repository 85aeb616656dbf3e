"""A function over cells, a few at a time: what it keeps for the backward pass is computed again instead."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["in_chunks"]


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, chunk_cells: int) -> Tensor:
    """`function(x)`, whose result for a cell depends on that cell alone, `chunk_cells` cells at a time.

    Parameters
    ----------
    function
        Cells on the first axis, of argument and result.

    Notes
    -----
    With gradients, each chunk's intermediate values are thrown away and computed again when its gradient is wanted,
    with the same random numbers (dropout): memory is that of one chunk, for a third more arithmetic, and whatever
    compares cells with each other still sees the whole minibatch. Cells of one chunk are computed the plain way.
    """
    if len(x) <= chunk_cells:
        return function(x)
    parts = torch.split(x, chunk_cells)
    if not torch.is_grad_enabled():
        return torch.cat([function(part) for part in parts])
    return torch.cat([checkpoint(function, part, use_reentrant=False) for part in parts])
