"""The three logistic regressions of the annotator, fitted together."""

from collections.abc import Callable
from dataclasses import dataclass

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

__all__ = ["HEADS", "Heads", "fit_heads", "raw_genes"]

HEADS = ("lr_raw", "lr_pca", "lr_latent")

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
        x = log_genes(atlas, rows, gene_indices(atlas, model.genes), model.mean_total)
        return np.stack(
            [
                self.lr_raw.log_proba(log_genes(atlas, rows, self.raw_places(atlas), model.mean_total)),
                self.lr_pca.log_proba(self.projection(x)),
                self.lr_latent.log_proba(stretched(embed(model, atlas, rows, device))),
            ]
        )

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
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> Heads:
    """Fit all three on the labelled of these rows, C = 1: both on expression at any size, that on the latent on 50,000.

    Parameters
    ----------
    genes
        Of `lr_raw`, as places in the atlas; None: `raw_genes`.
    """
    told = progress or (lambda what, share: None)
    label, n_labels = np.asarray(atlas.label, np.int64), len(atlas.label_names)
    rows = rows[label[rows] >= 0]
    genes = raw_genes(atlas, rows) if genes is None else genes
    own, mean_total = gene_indices(atlas, model.genes), float(model.mean_total)
    told("regression on genes", 0.0)
    lr_raw = fit_gene_logistic(atlas, rows, genes, mean_total, seed=seed)
    told("regression on components", 0.6)
    projection = Projection.fit(atlas, own, rows, mean_total)
    lr_pca = fit_gene_logistic(atlas, rows, own, mean_total, projection=projection, seed=seed)
    told("regression on the latent", 0.8)
    held = rows[stratified_rows(label[rows], REFERENCE_CELLS, seed=seed)]
    latent = stretched(embed(model, atlas, held, device))
    return Heads(
        genes=tuple(str(name) for name in atlas.genes[genes]),
        projection=projection,
        lr_raw=lr_raw,
        lr_pca=lr_pca,
        lr_latent=fit_logistic(latent, label[held], n_labels),
    )
