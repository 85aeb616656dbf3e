"""CELLULAR's encoders: how a config builds one, and the constants that Models 2 and 3 take from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.gmt import read_gmt
from livelatent.models.cellular_config import CellularConfig
from livelatent.models.feed_forward import feed_forward
from livelatent.models.gene_sets import N_SETS, ChosenSets, select_gene_sets
from livelatent.models.gene_vectors import VECTOR_SIZE, read_gene_vectors
from livelatent.models.tokens import GeneTokens, SetTokens, gene_ranges
from livelatent.models.towers import Tower, TwoTowers
from livelatent.models.transformer import Transformer

__all__ = ["GeneSetSource", "Prior", "build_encoder", "read_prior", "towers_of"]

GeneSetSource = str | Path | Mapping[str, Sequence[str]]
"""A GMT file, or set names and their genes."""


@dataclass(frozen=True)
class Prior:
    """What Models 2 and 3 know of genes before they see a cell."""

    known_at: Int[ndarray, " known"]
    """Places of the genes whose vector is given."""
    vectors: Float[ndarray, "known dim"]
    sets: ChosenSets | None

    def config_fields(self) -> dict[str, Any]:
        """Fields of `CellularConfig` that follow from it."""
        return {
            "n_gene_vectors": len(self.known_at),
            "vector_size": self.vectors.shape[1],
            "set_names": () if self.sets is None else self.sets.names,
        }

    def facts(self, n_genes: int) -> list[str]:
        """What a user should read once."""
        facts = []
        if 0 < len(self.known_at) < n_genes:
            facts.append(f"Gene vectors are given for {len(self.known_at)} of {n_genes} genes; the others are learned.")
        if self.sets is not None and len(self.sets.names) < N_SETS:
            facts.append(f"{len(self.sets.names)} gene sets qualify, of the {N_SETS} looked for.")
        return facts

    def fill(self, encoder: nn.Module, atlas: Atlas, genes: Int[ndarray, " gene"], rows: Rows) -> None:
        """Copy the constants, and the ranges of the genes over `rows`, into a built encoder."""
        low, high = gene_ranges(atlas, genes, rows, mean_total=float(atlas.mean_total))
        for tower in towers_of(encoder).values():
            if isinstance(tower.tokens, GeneTokens):
                tower.tokens.fill(low, high, self.known_at, self.vectors)
            elif self.sets is not None:
                tower.tokens.fill(self.sets.masks)


def read_prior(
    encoder: str, genes: Sequence[str], gene_sets: GeneSetSource | None, gene_vectors: str | Path | None
) -> Prior | None:
    """Read what an encoder needs; None for Model 1.

    Raises
    ------
    ValueError
        If there is no such encoder, gene sets are missing, or something was given that it does not use.
    SourceError, GeneMismatchError
        If a file is none of its kind, or shares too few genes with the model.
    """
    if encoder not in ("feed_forward", "genes", "genes+sets"):
        raise ValueError(
            "encoder: 'feed_forward' (Model 1), 'genes' (Model 2) or 'genes+sets' (Model 3) was wanted; got "
            f"{encoder!r}."
        )
    if gene_sets is None and encoder == "genes+sets":
        raise ValueError("encoder='genes+sets' needs gene sets: name a GMT file (gene_sets='c5.go.bp.symbols.gmt').")
    if gene_sets is not None and encoder != "genes+sets":
        raise ValueError(f"encoder={encoder!r} uses no gene sets; for these take encoder='genes+sets'.")
    if gene_vectors is not None and encoder == "feed_forward":
        raise ValueError("encoder='feed_forward' uses no gene vectors; for these take encoder='genes'.")
    if encoder == "feed_forward":
        return None
    known_at, vectors = np.empty(0, np.int64), np.empty((0, VECTOR_SIZE), np.float32)
    if gene_vectors is not None:
        known_at, vectors = read_gene_vectors(gene_vectors, genes)
    sets = None
    if gene_sets is not None:
        if not isinstance(gene_sets, str | Path | Mapping):
            raise ValueError(
                f"gene_sets is a GMT file, or set names and their genes; got {type(gene_sets).__name__} "
                f"({str(gene_sets)[:40]!r})."
            )
        read = gene_sets if isinstance(gene_sets, Mapping) else read_gmt(gene_sets)
        sets = select_gene_sets(read, genes)
    return Prior(known_at, vectors, sets)


def build_encoder(config: CellularConfig) -> nn.Module:
    """The untrained network from x to the latent."""
    n_genes = len(config.genes)
    if config.encoder == "feed_forward":
        return feed_forward(n_genes, config.n_latent, config.dropout)
    tokens = GeneTokens(
        n_genes,
        config.token_width,
        n_buckets=config.n_buckets,
        n_known=config.n_gene_vectors,
        size=config.vector_size,
    )
    genes = _tower(config, tokens, n_genes, config.token_width)
    if config.encoder == "genes":
        return genes
    n_sets = len(config.set_names)
    sets = _tower(config, SetTokens(n_sets, n_genes, config.set_width), n_sets, config.set_width)
    return TwoTowers(genes, sets, config.n_latent)


def towers_of(encoder: nn.Module) -> dict[str, Tower]:
    """The transformer towers of an encoder: over "genes", and over "sets"; Model 1 has none."""
    if isinstance(encoder, TwoTowers):
        return {"genes": encoder.genes, "sets": encoder.sets}
    return {"genes": encoder} if isinstance(encoder, Tower) else {}


def _tower(config: CellularConfig, tokens: GeneTokens | SetTokens, n_tokens: int, width: int) -> Tower:
    transformer = Transformer(
        width,
        depth=config.depth,
        attention_width=config.attention_width,
        n_heads=config.n_heads,
        norm=config.norm,
        dropout=config.token_dropout,
    )
    return Tower(
        tokens,
        transformer,
        n_tokens=n_tokens,
        width=width,
        n_latent=config.n_latent,
        head=config.head,
        dropout=config.dropout,
        step_bytes=config.step_bytes,
    )
