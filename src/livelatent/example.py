"""Real cells to try the loop on, without a download."""

from pathlib import Path

import numpy as np

from livelatent.atomic import fresh_file
from livelatent.errors import CountsError

EXAMPLE_LABEL = "bulk_labels"
EXAMPLE_HIDDEN = "CD19+ B"


def write_example(path: str | Path) -> Path:
    """Write the 700 labelled blood cells that ship inside scanpy as an `.h5ad` of counts.

    Parameters
    ----------
    path
        Where the file goes; an existing one is replaced.

    Returns
    -------
    The path written: counts in `X` (700 cells, 765 genes), the cell type in `obs["bulk_labels"]`, no batches.

    Raises
    ------
    CountsError
        If scanpy's file no longer holds logarithms of scaled counts.

    Notes
    -----
    scanpy ships `pbmc68k_reduced` (Zheng 2017) with log1p of scaled counts in `raw`. A cell's scale is the same
    for all its genes and its smallest seen count is 1, so its expm1 values divided by the smallest of them are
    its counts: to within 0.13 % of each value, which is rounded away.
    """
    import anndata
    import scanpy
    from scipy.sparse import csr_matrix

    shipped = scanpy.datasets.pbmc68k_reduced()
    logs = csr_matrix(shipped.raw.X)
    scaled = np.expm1(logs.data.astype(np.float64))
    smallest = np.minimum.reduceat(scaled, logs.indptr[:-1])
    counts = scaled / np.repeat(smallest, np.diff(logs.indptr))
    off = np.abs(counts - np.round(counts)) / counts
    if off.max() > 0.002:
        raise CountsError(
            "scanpy's pbmc68k_reduced: counts were to come back to within 0.2 % of an integer, but one is off by "
            f"{off.max():.1%}. This scanpy ships another file than 1.12's: try `livelatent demo FILE` on your own."
        )
    matrix = csr_matrix((np.round(counts).astype(np.float32), logs.indices, logs.indptr), shape=logs.shape)
    obs = shipped.obs[[EXAMPLE_LABEL, "phase", "percent_mito"]].copy()
    var = shipped.raw.var.loc[:, []].copy()
    target = Path(path)
    with fresh_file(target) as aside:
        anndata.AnnData(X=matrix, obs=obs, var=var).write_h5ad(aside, compression="gzip")
    return target
