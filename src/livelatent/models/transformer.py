"""The transformer encoder of Models 2 and 3 (equations 2.18 to 2.24 of Andrekson 2024)."""

from typing import Literal

import torch
from torch import Tensor, nn

from livelatent.arrays import Float

__all__ = ["Norm", "Transformer", "weights_of"]

Norm = Literal["pre", "thesis"]


class Attention(nn.Module):
    """Multi-head self-attention, narrower than the tokens and projected back.

    Notes
    -----
    Equations 2.18 to 2.22. Those project twice (W X, then each head's W_i); two linear maps in a row are one, so
    there is one matrix for all heads. PyTorch picks flash attention where the device has it for the numbers at hand
    (the CPU's, and CUDA's under autocast to 16 bits); no attention matrix is then in memory.
    """

    def __init__(self, width: int, attention_width: int, n_heads: int) -> None:
        super().__init__()
        if attention_width % n_heads:
            raise ValueError(f"attention_width {attention_width} can't be shared among {n_heads} heads.")
        self.n_heads = n_heads
        self.project = nn.Linear(width, 3 * attention_width, bias=False)
        self.back = nn.Linear(attention_width, width, bias=False)

    def heads(self, x: Float[Tensor, "cell token dim"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [cell, head, token, dim]."""
        q, k, v = self.project(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def forward(self, x: Float[Tensor, "cell token dim"]) -> Float[Tensor, "cell token dim"]:
        """Mix tokens."""
        mixed = nn.functional.scaled_dot_product_attention(*self.heads(x))
        back: Tensor = self.back(mixed.transpose(1, 2).flatten(2))
        return back


class Block(nn.Module):
    """One layer: attention, then two linear maps whose hidden layer is four times as wide."""

    def __init__(self, width: int, attention_width: int, n_heads: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.norm = norm
        self.attention = Attention(width, attention_width, n_heads)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        # In place: the ReLU's own gradient needs its result only.
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(inplace=True), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def seen(self, x: Float[Tensor, "cell token dim"]) -> Float[Tensor, "cell token dim"]:
        """What the attention is computed from."""
        result: Tensor = self.norms[0](x) if self.norm == "pre" else x
        return result

    def forward(self, x: Float[Tensor, "cell token dim"]) -> Float[Tensor, "cell token dim"]:
        """One layer on."""
        mixed = self.dropout(self.attention(self.seen(x)))
        if self.norm == "pre":
            x = x + mixed
            result: Tensor = x + self.dropout(self.mlp(self.norms[1](x)))
            return result
        # 2.24 adds the block's input X, not O: through the second sum O is seen by the MLP only.
        o = self.norms[0](mixed + x)
        result = self.norms[1](self.dropout(self.mlp(o)) + x)
        return result


class Transformer(nn.Module):
    """`depth` blocks.

    Parameters
    ----------
    norm
        `"pre"`: each part reads normalised tokens and adds to the plain ones, and the result is normalised once, as in
        the author's code. `"thesis"`: equations 2.23 and 2.24.
    """

    def __init__(
        self, width: int, *, depth: int, attention_width: int, n_heads: int, norm: Norm, dropout: float
    ) -> None:
        super().__init__()
        self.depth, self.attention_width = depth, attention_width
        self.blocks = nn.ModuleList(Block(width, attention_width, n_heads, norm, dropout) for _ in range(depth))
        self.last = nn.LayerNorm(width) if norm == "pre" else nn.Identity()

    def forward(self, x: Float[Tensor, "cell token dim"]) -> Float[Tensor, "cell token dim"]:
        """Tokens after the last layer."""
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.last(x)
        return result

    def queries_and_keys(self, x: Float[Tensor, "cell token dim"]) -> list[tuple[Tensor, Tensor]]:
        """Each layer's queries and keys, [cell, head, token, dim], from the first layer to the last."""
        pairs = []
        for number, block in enumerate(self.blocks):
            q, k, _ = block.attention.heads(block.seen(x))  # type: ignore[operator, union-attr]
            pairs.append((q, k))
            if number + 1 < len(self.blocks):
                x = block(x)
        return pairs


def weights_of(q: Tensor, k: Tensor) -> Float[Tensor, "cell head query token"]:
    """Attention of each query to each token (equation 2.19)."""
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
