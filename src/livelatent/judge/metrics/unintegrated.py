"""What PCR and cell-cycle conservation compare a latent with: the expression before any integration."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.passes import logs_of, map_cells
from livelatent.atlas.pca import Pca, pca
from livelatent.errors import UndefinedMetricError
from livelatent.judge.cycle_lists import CycleSource, cycle_lists
from livelatent.judge.metrics.cycle_scores import cycle_scores
from livelatent.judge.metrics.pcr import covariate_variance
from livelatent.progress import CellProgress

__all__ = ["Unintegrated", "unintegrated"]

N_COMPONENTS = 50
N_GENES = 2_000
# Two covariates explain 2 / (n - 1) of nothing at all: in a batch of fewer cells a cycle is no finding.
MIN_CELLS = 10


@dataclass(frozen=True)
class Unintegrated:
    """Expression of some cells as it was: one for all the latents that are compared."""

    pcs: Float[ndarray, "cell component"] | None = None
    """Principal components; None where there is no expression at hand."""
    cycle: Float[ndarray, "cell phase"] | None = None
    """S and G2/M score of each cell; None where no cycle genes were named."""
    cycle_batch: Int[ndarray, " cell"] | None = None
    """The batch in which each cell was scored."""
    cycle_variance: dict[int, float] | None = None
    """Share of the variance of a batch's own principal components that its scores explain, by batch code; batches of
    fewer than ten cells are not among them."""

    def at(self, cells: Int[ndarray, " chosen"]) -> "Unintegrated":
        """The same for some of the cells; a batch's share stays that of all its cells."""

        def some(values: ndarray | None) -> ndarray | None:
            return None if values is None else values[cells]

        return replace(self, pcs=some(self.pcs), cycle=some(self.cycle), cycle_batch=some(self.cycle_batch))


def unintegrated(
    atlas: Atlas,
    rows: Rows,
    *,
    genes: Int[ndarray, " gene"] | None = None,
    cell_cycle: CycleSource | None = None,
    client: Any = None,
    progress: CellProgress | None = None,
) -> Unintegrated:
    """Principal components of x over the rows, and their cell-cycle scores, by streaming.

    Parameters
    ----------
    genes
        Indices of the genes whose principal components are taken; None: the 2,000 most variable among the rows.
    cell_cycle
        Genes of S and G2M phase: a GMT file or a mapping with sets of these names, or two lists, S first.

    Raises
    ------
    UndefinedMetricError
        If there are fewer than two cells.
    SourceError, GeneMismatchError
        If `cell_cycle` names no genes of a phase, or the atlas has none of them.

    Notes
    -----
    50 components, as in scib, which takes all genes that it is given. Cycle scores and the principal components that
    they are regressed on are each batch's own, as there: a batch effect would else pass for the cycle.
    """
    if len(rows) < 2:
        raise UndefinedMetricError(f"Principal components need at least 2 cells; got {len(rows)}.")
    if genes is None:
        genes = highly_variable_genes(atlas, N_GENES, rows, client=client, progress=progress)
    else:
        genes = _checked(genes, atlas)
    fitted = _components(atlas, genes, rows, client, progress)
    before = Unintegrated(_projected(atlas, fitted, genes, rows, client, progress))
    if cell_cycle is None:
        return before
    batch = np.asarray(atlas.batch[rows], np.int64)
    scores = cycle_scores(atlas, rows, cycle_lists(cell_cycle), batch, client=client, progress=progress)
    variance = {}
    for code in np.unique(batch):
        own = batch == code
        if own.sum() >= MIN_CELLS:
            fitted = _components(atlas, genes, rows[own], client, progress)
            pcs = _projected(atlas, fitted, genes, rows[own], client, progress)
            variance[int(code)] = covariate_variance(pcs, scores[own])
    return replace(before, cycle=scores, cycle_batch=batch, cycle_variance=variance)


def _checked(genes: object, atlas: Atlas) -> Int[ndarray, " gene"]:
    found = np.asarray(genes)
    if (
        found.ndim != 1
        or found.dtype.kind not in "iu"
        or not found.size
        or found.min() < 0
        or found.max() >= atlas.n_genes
    ):
        raise ValueError(
            f"genes are indices into the atlas's {atlas.n_genes:,} genes, at least one; got {str(genes)[:60]!r}. Of "
            "names `np.flatnonzero(np.isin(atlas.genes, names))` makes them."
        )
    return found.astype(np.int64)


def _components(
    atlas: Atlas, genes: Int[ndarray, " gene"], rows: Rows, client: Any, progress: CellProgress | None
) -> Pca:
    n_components = min(N_COMPONENTS, len(rows) - 1, len(genes))
    return pca(atlas, genes, n_components, rows, client=client, progress=progress)


def _projected(
    atlas: Atlas, fitted: Pca, genes: Int[ndarray, " gene"], rows: Rows, client: Any, progress: CellProgress | None
) -> Float[ndarray, "cell component"]:
    logs = logs_of(atlas)
    offset = fitted.components @ fitted.mean

    def chunk_pcs(counts: Any, chunk: Rows) -> Float[ndarray, "cell component"]:
        return np.asarray(logs(counts, chunk)[:, genes] @ fitted.components.T - offset, np.float32)

    parts = map_cells(chunk_pcs, atlas, rows, client=client, progress=progress, what="principal components")
    return np.concatenate(list(parts))
