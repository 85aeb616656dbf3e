"""Highly variable genes as scanpy's `cell_ranger` flavour finds them, from streamed moments."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray
from scipy.stats import norm

from livelatent.arrays import Rows, rows_or_all
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.passes import gene_moments


def highly_variable_genes(
    atlas: Atlas,
    n_genes: int = 2000,
    rows: Rows | None = None,
    *,
    by_batch: bool = False,
    mean_total: float | None = None,
    client: Any = None,
) -> Int64[ndarray, " gene"]:
    """Indices of the most variable genes, sorted.

    Parameters
    ----------
    n_genes
        How many are wanted. All genes where there are fewer; a few more where several tie for the last place.
    by_batch
        Select in each batch, then take those selected in most batches; ties by mean normalised dispersion.

    Notes
    -----
    scanpy's `flavor="cell_ranger"`: dispersion (variance / mean) is compared with the median and the MAD of genes
    in the same of 20 bins of the mean. It equals scanpy's selection on the same matrix in float64.
    """
    if n_genes < 1:
        raise ValueError(f"n_genes must be at least 1; got {n_genes}.")
    chosen = rows_or_all(rows, atlas.n_cells)
    if chosen.size < 2:
        raise ValueError(f"a gene's variance needs at least 2 cells; got {chosen.size}.")
    n_wanted = min(n_genes, atlas.n_genes)
    if not by_batch or len(atlas.batch_names) < 2:
        moments = gene_moments(atlas, chosen, mean_total=mean_total, client=client)
        spread = normalised_dispersion(moments.mean, moments.variance)
        return np.flatnonzero(among_highest(spread, n_wanted)).astype(np.int64)
    n_selected, spreads = np.zeros(atlas.n_genes, np.int64), []
    for batch in np.unique(atlas.batch[chosen]):
        own = chosen[atlas.batch[chosen] == batch]
        moments = gene_moments(atlas, own, mean_total=mean_total, client=client)
        seen = moments.n_seen > 0
        spread = np.zeros(atlas.n_genes)
        spread[seen] = normalised_dispersion(moments.mean[seen], moments.variance[seen])
        n_selected[seen] += among_highest(spread[seen], n_wanted)
        spreads.append(spread)
    table = pd.DataFrame({"n": n_selected, "spread": pd.DataFrame(spreads).mean().to_numpy()})
    best = table.sort_values(["n", "spread"], ascending=False, na_position="last").index[:n_wanted]
    return np.sort(best.to_numpy()).astype(np.int64)


def normalised_dispersion(
    mean: Float64[ndarray, " gene"], variance: Float64[ndarray, " gene"]
) -> Float64[ndarray, " gene"]:
    """(dispersion - median) / MAD among genes of similar mean; NaN or infinite where the MAD is 0."""
    mean = np.where(mean == 0, 1e-12, mean)
    dispersion = variance / mean
    edges = np.r_[-np.inf, np.percentile(mean, np.arange(10, 105, 5)), np.inf]
    # Bins are open on the left, as pandas cuts them; equal edges (many genes of one mean) leave empty bins.
    which = np.searchsorted(edges, mean, side="left")
    result = np.empty_like(dispersion)
    for one in np.unique(which):
        inside = which == one
        values = dispersion[inside]
        centre = np.median(values)
        mad = np.median(np.abs(values - centre) / norm.ppf(0.75))
        with np.errstate(divide="ignore", invalid="ignore"):
            result[inside] = (values - centre) / mad
    return np.asarray(result)


def among_highest(values: Float64[ndarray, " gene"], n: int) -> Bool[ndarray, " gene"]:
    """Whether each value is among the `n` highest; NaN never is, those equal to the last one are."""
    known = np.sort(values[~np.isnan(values)])
    if not known.size:
        return np.zeros(values.shape, bool)
    return np.asarray(np.nan_to_num(values, nan=-np.inf, posinf=np.inf) >= known[-min(n, known.size)], bool)
