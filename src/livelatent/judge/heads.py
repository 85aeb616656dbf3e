"""The three logistic regressions of recipe B, fitted together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.judge.expression import REFERENCE_CELLS, gene_indices, gene_places, log_genes, stratified_rows
from livelatent.judge.latent_fit import stretched
from livelatent.judge.logistic import Logistic, fit_logistic
from livelatent.judge.logistic_stream import fit_gene_logistic
from livelatent.judge.projection import Projection
from livelatent.models.model import Model
from livelatent.train.embed import embed

__all__ = ["C_OF_HEADS", "HEADS", "Heads", "fit_heads", "fit_heads_by_penalty", "raw_genes"]

HEADS = ("lr_raw", "lr_pca", "lr_latent")
C_OF_HEADS = (1.0, 1.0, 1.0)
"""scikit-learn's C of each, where no held-back cell says better."""

# Of more genes than this the most variable are regressed on: coefficients of 20,000 take five times as long.
RAW_GENES = 10_000


@dataclass(frozen=True)
class Heads:
    """Regressions on log expression, on its principal components and on a model's latent."""

    genes: tuple[str, ...]
    """Of `lr_raw`; the components are of the model's genes."""
    projection: Projection
    lr_raw: Logistic
    lr_pca: Logistic
    lr_latent: Logistic

    def log_proba(
        self, model: Model, atlas: Atlas, rows: Rows, device: str = "auto"
    ) -> Float[ndarray, "head cell label"]:
        """Log probabilities of each label by each of `HEADS`, for sorted rows of any atlas.

        Raises
        ------
        GeneMismatchError
            If more than half of the model's genes are missing from the atlas; fewer are read as 0.
        """
        return self.log_proba_of(self.features(model, atlas, rows, device))

    def features(self, model: Model, atlas: Atlas, rows: Rows, device: str = "auto") -> tuple[Any, Any, Any]:
        """What each of `HEADS` reads of these cells; the same for heads that differ in their penalties only."""
        x = log_genes(atlas, rows, gene_indices(atlas, model.genes), model.mean_total)
        return (
            log_genes(atlas, rows, self.raw_places(atlas), model.mean_total),
            self.projection(x),
            stretched(embed(model, atlas, rows, device)),
        )

    def log_proba_of(self, features: Sequence[Any]) -> Float[ndarray, "head cell label"]:
        """Log probabilities of each label by each of `HEADS`, of what it reads."""
        heads = (self.lr_raw, self.lr_pca, self.lr_latent)
        return np.stack([head.log_proba(x) for head, x in zip(heads, features, strict=True)])

    def raw_places(self, atlas: Atlas) -> Int[ndarray, " gene"]:
        """Where the genes of `lr_raw` stand in an atlas, -1 where it has none of the name."""
        return gene_places(atlas, self.genes)


def raw_genes(atlas: Atlas, rows: Rows) -> Int[ndarray, " gene"]:
    """Genes that raw logistic regression reads: all that QC keeps, or the 10,000 most variable of more."""
    kept = np.flatnonzero(atlas.kept_genes).astype(np.int64)
    return kept if len(kept) <= RAW_GENES else highly_variable_genes(atlas, RAW_GENES, rows)


def fit_heads(
    model: Model,
    atlas: Atlas,
    rows: Rows,
    *,
    genes: Int[ndarray, " gene"] | None = None,
    inverse_penalty: Sequence[float] = C_OF_HEADS,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> Heads:
    """Fit all three on the labelled of these rows: both on expression at any size, that on the latent on 50,000.

    Parameters
    ----------
    genes
        Of `lr_raw`, as places in the atlas; None: `raw_genes`.
    inverse_penalty
        scikit-learn's C of each of `HEADS`.
    """
    (fitted,) = fit_heads_by_penalty(
        model, atlas, rows, [inverse_penalty], genes=genes, seed=seed, device=device, progress=progress
    )
    return fitted


def fit_heads_by_penalty(
    model: Model,
    atlas: Atlas,
    rows: Rows,
    inverse_penalties: Sequence[Sequence[float]],
    *,
    genes: Int[ndarray, " gene"] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> list[Heads]:
    """The same under each of several penalties; components and latents are computed once."""
    told = progress or (lambda what, share: None)
    label, n_labels = np.asarray(atlas.label, np.int64), len(atlas.label_names)
    rows = rows[label[rows] >= 0]
    genes = raw_genes(atlas, rows) if genes is None else genes
    own, mean_total = gene_indices(atlas, model.genes), float(model.mean_total)
    told("regression on genes", 0.0)
    on_genes = [
        fit_gene_logistic(atlas, rows, genes, mean_total, inverse_penalty=c, seed=seed) for c, _, _ in inverse_penalties
    ]
    told("regression on components", 0.6)
    projection = Projection.fit(atlas, own, rows, mean_total)
    on_components = [
        fit_gene_logistic(atlas, rows, own, mean_total, projection=projection, inverse_penalty=c, seed=seed)
        for _, c, _ in inverse_penalties
    ]
    told("regression on the latent", 0.8)
    held = rows[stratified_rows(label[rows], REFERENCE_CELLS, seed=seed)]
    latent = stretched(embed(model, atlas, held, device))
    on_latent = [fit_logistic(latent, label[held], n_labels, inverse_penalty=c) for _, _, c in inverse_penalties]
    names = tuple(str(name) for name in atlas.genes[genes])
    return [Heads(names, projection, *three) for three in zip(on_genes, on_components, on_latent, strict=True)]
