"""Model 1's network; on top of a transformer it is Model 2's and 3's head."""

import math

from torch import nn

__all__ = ["feed_forward"]


def feed_forward(n_in: int, n_out: int, dropout: float) -> nn.Sequential:
    """Layers of Model 1 as in its author's code: widths fall from `n_in` to a half, a quarter, then `n_out`."""
    wide, narrow = max(math.ceil(n_in / 2), 1), max(math.ceil(n_in / 4), 1)
    return nn.Sequential(
        nn.LayerNorm(n_in),
        nn.Linear(n_in, wide),
        nn.LayerNorm(wide),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(wide, narrow),
        nn.LayerNorm(narrow),
        nn.ReLU(),
        nn.Linear(narrow, n_out),
    )
