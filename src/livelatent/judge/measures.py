"""What tells a damaged, shallow or doubled cell, cell by cell, and what is usual for each known type."""

from dataclasses import dataclass

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.qc import MITOCHONDRIAL
from livelatent.judge.doublets import Doublets
from livelatent.judge.expression import log_genes

__all__ = ["MEASURES", "KnownMeasures", "cell_measures", "known_measures", "unmeasured"]

MEASURES = ("depth", "mitochondrial share", "doublet score")
QUANTILES = (0.05, 0.5, 0.95)
# A type's own quantiles need so many cells; all known cells' stand in below.
MIN_CELLS = 10


@dataclass(frozen=True)
class KnownMeasures:
    """Of calibration cells: what no reference, and no made doublet, has seen."""

    by_type: Float[ndarray, "label measure quantile"]
    """5 %, median, 95 %; NaN for what was not measured. Types of fewer than ten cells have all cells' quantiles."""
    overall: Float[ndarray, "measure quantile"]


def cell_measures(
    atlas: Atlas, rows: Rows, pcs: Float[ndarray, "cell component"], doublets: Doublets, mean_total: float
) -> Float[ndarray, "cell measure"]:
    """Total counts, share of mitochondrial counts (NaN where no such gene is stored), doublet score.

    Notes
    -----
    Mitochondrial genes go by their prefix (those of `qc`). log1p(count * L / total) gives the share back without the
    counts: the sum of expm1 over those genes, over L.
    """
    genes = np.flatnonzero([str(gene).startswith(MITOCHONDRIAL) for gene in atlas.genes])
    share = np.full(len(rows), np.nan)
    if len(genes):
        x = log_genes(atlas, rows, genes, mean_total)
        x.data = np.expm1(x.data.astype(np.float64))
        share = np.asarray(x.sum(axis=1)).ravel() / mean_total
    return np.stack([np.asarray(atlas.total[rows], np.float64), share, doublets.score(pcs)], axis=1)


def known_measures(
    measures: Float[ndarray, "cell measure"], label: Int[ndarray, " cell"], n_labels: int
) -> KnownMeasures:
    """Quantiles of each type, and of all."""
    overall = np.quantile(measures, QUANTILES, axis=0).T
    by_type = np.tile(overall, (n_labels, 1, 1))
    for code in range(n_labels):
        own = measures[label == code]
        if len(own) >= MIN_CELLS:
            by_type[code] = np.quantile(own, QUANTILES, axis=0).T
    return KnownMeasures(by_type, overall)


def unmeasured(n_cells: int) -> Float[ndarray, "cell measure"]:
    """Measures of cells without counts: NaN, which explains nothing and is shown as "not measured"."""
    return np.full((n_cells, len(MEASURES)), np.nan)
