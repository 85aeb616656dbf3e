"""Tokens of a cell: one per gene from its bucket and its gene vector, one per gene set from the set's genes."""

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from livelatent.arrays import Bool, Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import logs_of, map_cells

__all__ = ["GeneTokens", "SetTokens", "gene_ranges"]


def gene_ranges(
    atlas: Atlas, genes: Int[ndarray, " gene"], rows: Rows, *, mean_total: float
) -> tuple[Float[ndarray, " gene"], Float[ndarray, " gene"]]:
    """Least and greatest x of each gene over `rows`, chunk by chunk; a cell without a count has 0."""
    logs = logs_of(atlas, mean_total)

    def ends(counts: sparse.csr_matrix, chunk: Rows) -> tuple[ndarray, ndarray]:
        x = logs(counts, chunk)[:, genes]
        return x.min(axis=0).toarray()[0], x.max(axis=0).toarray()[0]

    low, high = np.full(len(genes), np.inf), np.full(len(genes), -np.inf)
    for least, most in map_cells(ends, atlas, rows, what="ranges of genes"):
        np.minimum(low, least, out=low)
        np.maximum(high, most, out=high)
    return low, high


class GeneTokens(nn.Module):
    """A gene's token: the embedding of the bucket its value falls into, plus a projection of the gene's vector.

    Parameters
    ----------
    n_known
        Genes whose vector is given (gene2vec) and stays as it is; those of the others are learned.
    size
        Numbers in a gene's vector.

    Notes
    -----
    Document 000, 2.3.4.2: `n_buckets` buckets of equal width between each gene's least and greatest value over the
    training cells, one table of embeddings for all genes. A query's value beyond that range falls into the bucket
    at its end; a gene that never differed has one bucket.
    """

    low: Tensor
    high: Tensor
    known: Tensor
    known_at: Tensor

    def __init__(self, n_genes: int, width: int, *, n_buckets: int, n_known: int, size: int) -> None:
        super().__init__()
        self.n_buckets = n_buckets
        self.buckets = nn.Embedding(n_buckets, width)
        self.learned = nn.Parameter(torch.randn(n_genes - n_known, size))
        self.project = nn.Linear(size, width)
        self.register_buffer("low", torch.zeros(n_genes))
        self.register_buffer("high", torch.ones(n_genes))
        self.register_buffer("known", torch.zeros(n_known, size))
        self.register_buffer("known_at", torch.arange(n_known))

    def fill(
        self,
        low: Float[ndarray, " gene"],
        high: Float[ndarray, " gene"],
        known_at: Int[ndarray, " known"],
        known: Float[ndarray, "known dim"],
    ) -> None:
        """Set the genes' ranges, and the places and vectors of those whose vector is given."""
        for name, values in (("low", low), ("high", high), ("known_at", known_at), ("known", known)):
            getattr(self, name).copy_(torch.from_numpy(values))

    def bucket(self, x: Float[Tensor, "cell gene"]) -> Int[Tensor, "cell gene"]:
        """Number of the bucket of each value, from 0."""
        span = self.high - self.low
        scale = torch.where(span > 0, self.n_buckets / span, 0.0)
        return ((x - self.low) * scale).long().clamp_(0, self.n_buckets - 1)

    def vectors(self) -> Float[Tensor, "gene dim"]:
        """Each gene's vector, given or learned."""
        place = torch.ones(len(self.low), dtype=torch.bool, device=self.low.device)
        place[self.known_at] = False
        order = torch.argsort(torch.cat([self.known_at, place.nonzero().squeeze(1)]))
        return torch.cat([self.known.to(self.learned.dtype), self.learned])[order]

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell gene dim"]:
        """One token per gene."""
        tokens: Tensor = self.buckets(self.bucket(x)) + self.project(self.vectors())
        return tokens


class SetTokens(nn.Module):
    """A gene set's token: a linear map of the cell's expression, of which all but the set's genes are masked.

    Notes
    -----
    Document 000, 2.3.4.3: x times the binary mask of each set, then one linear map for all sets. Computed as
    (mask of sets x genes, sparse) @ (x times the map's weights): of 500 sets of some 40 of 2,000 genes a fiftieth
    of the dense product.
    """

    masks: Tensor

    def __init__(self, n_sets: int, n_genes: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(n_genes, width)
        self.register_buffer("masks", torch.zeros(n_sets, n_genes, dtype=torch.bool))

    def fill(self, masks: Bool[ndarray, "set gene"]) -> None:
        """Say which genes belong to each set."""
        self.masks.copy_(torch.from_numpy(masks))

    def forward(self, x: Float[Tensor, "cell gene"]) -> Float[Tensor, "cell set dim"]:
        """One token per set."""
        n_cells, width = len(x), self.project.out_features
        at = self.masks.nonzero().T
        ones = torch.ones(at.shape[1], dtype=x.dtype, device=x.device)
        sets = torch.sparse_coo_tensor(at, ones, self.masks.shape, is_coalesced=True, check_invariants=False)
        # Genes first: one sparse product for all cells of the chunk.
        weighted = x.T.unsqueeze(2) * self.project.weight.T.unsqueeze(1)
        tokens = torch.sparse.mm(sets, weighted.flatten(1)).view(-1, n_cells, width)
        result: Tensor = tokens.transpose(0, 1) + self.project.bias
        return result
