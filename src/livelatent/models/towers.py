"""The encoders of Models 2 and 3: tokens → transformer → a head like Model 1."""

from typing import Literal

import torch
from torch import Tensor, nn

from livelatent.arrays import Float
from livelatent.models.chunks import in_chunks
from livelatent.models.feed_forward import feed_forward
from livelatent.models.tokens import GeneTokens, SetTokens
from livelatent.models.transformer import Transformer

__all__ = ["Head", "Tower", "TwoTowers"]

Head = Literal["tokens", "class"]


class Tower(nn.Module):
    """A class token before the cell's tokens, a transformer, and a feed-forward head.

    Parameters
    ----------
    tokens
        Gives the cells' tokens, `n_tokens` of `width` each.
    head
        `"tokens"`: a linear map makes one scalar of every token, the class token's among them, and the head reads
        these. `"class"`: the head reads the class token alone.
    step_bytes
        What the backward pass may keep at once: cells go through the transformer in chunks that fit it.

    Notes
    -----
    The text of Andrekson (2024) leaves the read-out open; `"tokens"` is what the author's code does.
    """

    def __init__(
        self,
        tokens: GeneTokens | SetTokens,
        transformer: Transformer,
        *,
        n_tokens: int,
        width: int,
        n_latent: int,
        head: Head,
        dropout: float,
        step_bytes: int,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.class_token = nn.Parameter(torch.randn(width))
        self.transformer = transformer
        self.scalar = nn.Linear(width, 1) if head == "tokens" else None
        self.head = feed_forward(n_tokens + 1 if head == "tokens" else width, n_latent, dropout)
        self.n_tokens, self.width, self.step_bytes = n_tokens, width, step_bytes

    def all_tokens(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell token dim"]:
        """What the transformer reads: the class token, then the cells' own."""
        first = self.class_token.expand(len(x), 1, -1)
        return torch.cat([first, self.tokens(x)], 1)

    def read_out(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell feature"]:
        """What the head reads."""
        tokens = self.transformer(self.all_tokens(x))
        if self.scalar is None:
            alone: Tensor = tokens[:, 0]
            return alone
        scalars: Tensor = self.scalar(tokens)
        return scalars.squeeze(2)

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell latent"]:
        """Latent of each cell."""
        latent: Tensor = self.head(in_chunks(self.read_out, x, self.chunk_cells))
        return latent

    @property
    def bytes_per_cell(self) -> int:
        """About what a cell's tokens keep for the backward pass, and the gradients under way beside it."""
        # Measured: 112 MB a cell of 2,001 tokens at the default widths (benchmarks/RESULTS.md).
        kept = self.transformer.depth * (14 * self.width + 8 * self.transformer.attention_width)
        return 4 * (self.n_tokens + 1) * (kept + 16 * self.width)

    @property
    def chunk_cells(self) -> int:
        """Cells that go through the transformer together."""
        return max(1, self.step_bytes // self.bytes_per_cell)


class TwoTowers(nn.Module):
    """Model 3: a tower over genes beside one over gene sets, each with its own head; one linear map joins both."""

    def __init__(self, genes: Tower, sets: Tower, n_latent: int) -> None:
        super().__init__()
        self.genes, self.sets = genes, sets
        self.join = nn.Linear(2 * n_latent, n_latent)

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell latent"]:
        """Latent of each cell."""
        latent: Tensor = self.join(torch.cat([self.genes(x), self.sets(x)], 1))
        return latent
