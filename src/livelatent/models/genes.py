"""What a model takes from the atlas it will be trained on: cells, genes and vocabularies."""

from typing import Any

import numpy as np

from livelatent.arrays import Int, Rows, as_rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.passes import gene_moments
from livelatent.errors import CountsError
from livelatent.models.given import check_atlas

__all__ = ["atlas_facts", "genes_to_read", "training_rows"]


# Variances of log expression below this are rounding of sums.
ROUNDING = 1e-9


def training_rows(
    atlas: Atlas, rows: Int[ndarray, " given"] | None, *, labelled: bool | None = None
) -> Int[ndarray, " used"]:
    """Cells of the training split, of those that may be used (`rows`; None: all that QC keeps).

    Raises
    ------
    TypeError
        If no atlas was given.
    """
    check_atlas(atlas, "A model")
    used = atlas.rows("train", labelled=labelled)
    return used if rows is None else np.intersect1d(used, as_rows(rows, atlas.n_cells))


def genes_to_read(atlas: Atlas, n_genes: int, rows: Rows) -> Int[ndarray, " gene"]:
    """The most variable genes among `rows`, or all that QC keeps where more are asked for.

    Raises
    ------
    ValueError
        If `n_genes` is not at least 1.
    CountsError
        If no gene differs between the cells, or there are fewer than two.
    """
    if not isinstance(n_genes, int | np.integer) or n_genes < 1:
        raise ValueError(f"n_genes, the number of genes to read, is a whole number of at least 1; got {n_genes!r}.")
    kept = np.flatnonzero(atlas.kept_genes).astype(np.int64)
    if len(rows) < 2:
        genes = kept[:0]
    elif n_genes < len(kept):
        genes = highly_variable_genes(atlas, n_genes, rows)
    else:
        varies = gene_moments(atlas, rows).variance[kept] > ROUNDING
        genes = kept if varies.any() else kept[:0]
    if not len(genes):
        raise CountsError(
            f"{atlas.path}: no gene differs between the {len(rows)} training cells, so there is nothing to learn from. "
            "Look at the counts, at what QC keeps, at the labels, or at `rows`."
        )
    return genes


def atlas_facts(atlas: Atlas, genes: Int[ndarray, " gene"]) -> dict[str, Any]:
    """The fields that every model's config has: names of genes, labels and batches, L, and where the atlas is."""
    return {
        "genes": tuple(str(name) for name in atlas.genes[genes]),
        "label_names": tuple(atlas.label_names),
        "batch_names": tuple(atlas.batch_names),
        "mean_total": float(atlas.mean_total),
        "atlas_path": str(atlas.path),
    }
