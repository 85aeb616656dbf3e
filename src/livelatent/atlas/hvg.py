"""Highly variable genes as scanpy's `cell_ranger` and `seurat_v3` flavours find them, from streamed sums."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int, Int64
from numpy import ndarray
from scipy.stats import norm

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import group_sums
from livelatent.atlas.passes import gene_moments, logs_of, rows_or_kept
from livelatent.progress import CellProgress

Flavor = Literal["cell_ranger", "seurat_v3"]


def highly_variable_genes(
    atlas: Atlas,
    n_genes: int = 2000,
    rows: Rows | None = None,
    *,
    flavor: Flavor = "cell_ranger",
    by_batch: bool = False,
    mean_total: float | None = None,
    client: Any = None,
    progress: CellProgress | None = None,
) -> Int64[ndarray, " gene"]:
    """Indices of the most variable genes, sorted; never one that QC masks.

    Parameters
    ----------
    n_genes
        How many are wanted. All genes where there are fewer; with `cell_ranger` a few more where several tie for the
        last place.
    rows
        Cells to look at; None means all that QC keeps.
    flavor
        `"cell_ranger"` reads x = log1p(count * mean_total / total), `"seurat_v3"` the counts.
    by_batch
        Select in each batch, then take those selected in most batches (`cell_ranger`; ties by mean normalised
        dispersion) or of the best median rank among the batches that select them (`seurat_v3`).
    client
        A `distributed.Client` to run on.

    Raises
    ------
    CountsError
        If `seurat_v3` can't fit its trend: too few genes vary, or a batch is too small.

    Notes
    -----
    Equal to `scanpy.pp.highly_variable_genes` on the same matrix in float64, its masked genes left out (the totals
    stay those of all genes). Seurat v3's trend is a loess whose interpolation jumps with the last bit of a mean where
    genes tie, and scanpy's means per batch are rounded: with `by_batch` 999 of 1,000 genes of kang_pbmc_ctrl agree.
    """
    if n_genes < 1:
        raise ValueError(f"n_genes must be at least 1; got {n_genes}.")
    if flavor not in ("cell_ranger", "seurat_v3"):
        raise ValueError(f'flavor is "cell_ranger" or "seurat_v3"; got {flavor!r}.')
    chosen = rows_or_kept(rows, atlas)
    if chosen.size < 2:
        raise ValueError(f"a gene's variance needs at least 2 cells; got {chosen.size}.")
    genes = np.flatnonzero(atlas.kept_genes)
    n_wanted = min(n_genes, genes.size)
    by_batch = by_batch and len(atlas.batch_names) > 1
    if flavor == "seurat_v3":
        from livelatent.atlas.hvg_seurat import seurat_v3

        batch = atlas.batch[chosen] if by_batch else np.zeros(chosen.size, np.int32)
        names = atlas.batch_names if by_batch else ("",)
        best = seurat_v3(atlas, n_wanted, chosen, genes, batch, names, client=client, progress=progress)
    elif by_batch:
        best = _most_batches(atlas, n_wanted, chosen, genes, mean_total, client, progress)
    else:
        moments = gene_moments(atlas, chosen, mean_total=mean_total, client=client, progress=progress)
        spread = normalised_dispersion(moments.mean[genes], moments.variance[genes])
        best = np.flatnonzero(among_highest(spread, n_wanted))
    return np.asarray(genes[np.sort(best)], np.int64)


def _most_batches(
    atlas: Atlas,
    n_wanted: int,
    rows: Rows,
    genes: Int[ndarray, " gene"],
    mean_total: float | None,
    client: Any,
    progress: CellProgress | None,
) -> Int64[ndarray, " chosen"]:
    """The genes that most batches select, as places among `genes`; all batches in one pass."""
    batches, batch = np.unique(atlas.batch[rows], return_inverse=True)
    sums, _ = group_sums(
        atlas,
        batch,
        len(batches),
        rows,
        logs_of(atlas, mean_total),
        client=client,
        progress=progress,
        what="means and variances per batch",
    )
    mean, variance = sums.mean[:, genes], sums.variance[:, genes]
    n_selected, spreads = np.zeros(genes.size, np.int64), np.zeros(mean.shape)
    for one in range(len(batches)):
        seen = mean[one] > 0
        spreads[one, seen] = normalised_dispersion(mean[one, seen], variance[one, seen])
        n_selected[seen] += among_highest(spreads[one, seen], n_wanted)
    table = pd.DataFrame({"n": n_selected, "spread": pd.DataFrame(spreads).mean().to_numpy()})
    best = table.sort_values(["n", "spread"], ascending=False, na_position="last").index[:n_wanted]
    return np.asarray(best, np.int64)


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
