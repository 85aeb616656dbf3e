"""Seurat v3's highly variable genes: variance of counts against a trend over their mean, large values clipped."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import group_sums
from livelatent.errors import CountsError
from livelatent.progress import CellProgress

SPAN = 0.3
"""Share of genes in each local fit, scanpy's and Seurat's default."""
MIN_GENES = 15
"""With fewer, no loess was found in any trial; with three, scikit-misc 0.5.3 ends the process."""


def seurat_v3(
    atlas: Atlas,
    n_wanted: int,
    rows: Rows,
    genes: Int[ndarray, " gene"],
    batch: Int[ndarray, " cell"],
    batch_names: Sequence[str],
    *,
    client: Any = None,
    progress: CellProgress | None = None,
) -> Int64[ndarray, " chosen"]:
    """The chosen genes, as places among `genes`.

    Parameters
    ----------
    batch
        One code for each of `rows`; genes are ranked in each batch by itself.

    Notes
    -----
    Stuart et al. (2019) as in scanpy's `flavor="seurat_v3"`, in two passes: sums of counts per batch; then, with
    each gene's standard deviation expected from its mean, sums of counts clipped at mean + sqrt(cells) of these.
    A batch of one cell has no variance, and no say (scanpy ranks its NaN).
    """
    n_cells = np.bincount(batch, minlength=len(batch_names))
    used = np.flatnonzero(n_cells > 1)
    code = np.full(len(batch_names), -1, np.int64)
    code[used] = np.arange(used.size)
    if not used.size:
        raise ValueError("a gene's variance needs at least 2 cells, and no batch has them.")
    sums, _ = group_sums(
        atlas,
        code[batch],
        used.size,
        rows,
        lambda counts, chunk: counts,
        client=client,
        progress=progress,
        what="means and variances of counts",
    )
    mean, variance = sums.mean[:, genes], sums.variance[:, genes]
    expected = np.stack(
        [expected_sd(m, v, batch_names[b]) for m, v, b in zip(mean, variance, used.tolist(), strict=True)]
    )
    n = sums.n_cells[:, None]
    limit = np.full(sums.mean.shape, np.inf)
    limit[:, genes] = expected * np.sqrt(n) + mean
    member_of = np.full(atlas.n_cells, -1, np.int32)
    member_of[rows] = code[batch]

    def clipped(counts: sparse.csr_matrix, chunk: Rows) -> sparse.csr_matrix:
        own = np.repeat(member_of[chunk], np.diff(counts.indptr))
        values = np.minimum(counts.data.astype(np.float64), limit[own, counts.indices])
        return sparse.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)

    cut, _ = group_sums(
        atlas, code[batch], used.size, rows, clipped, client=client, progress=progress, what="clipped variances"
    )
    total, squares = cut.total[:, genes], cut.squares[:, genes]
    spread = (n * mean**2 + squares - 2 * total * mean) / ((n - 1) * expected**2)
    return best_median_rank(spread, n_wanted)


def expected_sd(
    mean: Float64[ndarray, " gene"], variance: Float64[ndarray, " gene"], batch_name: str
) -> Float64[ndarray, " gene"]:
    """Standard deviation of genes of such means: a local quadratic (loess) of log10 variance on log10 mean.

    Raises
    ------
    CountsError
        If loess finds no fit, as with few genes or a handful of cells.
    """
    from skmisc.loess import loess  # type: ignore[import-untyped]  # it ships none

    result = np.zeros(mean.size)
    varies = variance > 0
    if varies.any():
        trouble = "" if varies.sum() >= MIN_GENES else f"{MIN_GENES} are needed"
        if not trouble:
            fit = loess(np.log10(mean[varies]), np.log10(variance[varies]), span=SPAN, degree=2)
            try:
                fit.fit()
                result[varies] = fit.outputs.fitted_values
            except ValueError as error:
                trouble = f"loess says {error}"
        if trouble:
            where = f"batch {batch_name!r}" if batch_name else "these cells"
            raise CountsError(
                f"the trend of variance over mean that flavor='seurat_v3' needs can't be fitted in {where} "
                f"({int(varies.sum())} genes vary; {trouble}). Use flavor='cell_ranger', or leave small batches out."
            )
    return np.asarray(np.sqrt(10**result))


def best_median_rank(spread: Float64[ndarray, "batch gene"], n_wanted: int) -> Int64[ndarray, " chosen"]:
    """Genes by the median of their ranks in the batches where they are among the first; ties by how many these are."""
    rank = np.argsort(np.argsort(-spread, axis=1), axis=1).astype(np.float64)
    n_selected = (rank < n_wanted).sum(axis=0)
    rank[rank >= n_wanted] = np.nan
    table = pd.DataFrame({"rank": pd.DataFrame(rank).median().to_numpy(), "n": n_selected})
    best = table.sort_values(["rank", "n"], ascending=[True, False], na_position="last").index[:n_wanted]
    return np.asarray(best, np.int64)
