"""How far each cell is into S and G2/M phase: marker genes above control genes of like expression."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.genes import names_hint
from livelatent.atlas.group_sums import group_sums
from livelatent.atlas.passes import logs_of, map_cells
from livelatent.errors import GeneMismatchError, SourceError
from livelatent.progress import CellProgress

__all__ = ["cycle_genes", "cycle_scores"]

N_BINS = 25


def cycle_genes(path: str | Path) -> tuple[list[str], list[str]]:
    """The genes of S and of G2/M phase from a GMT file of two sets, in this order.

    Raises
    ------
    SourceError
        If the file has not exactly two sets of genes.
    """
    lines = [line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    sets = [[gene.strip() for gene in parts[2:] if gene.strip()] for parts in lines]
    if len(sets) != 2 or not all(sets):
        raise SourceError(
            f"{path}: two gene sets were wanted, S (or G1/S) first, G2/M second; got {len(sets)}. Name the genes as "
            "two lists instead."
        )
    return sets[0], sets[1]


def cycle_scores(
    atlas: Atlas,
    rows: Rows,
    genes: tuple[Sequence[str], Sequence[str]],
    group: Int[ndarray, " cell"],
    *,
    mean_total: float | None = None,
    seed: int = 0,
    client: Any = None,
    progress: CellProgress | None = None,
) -> Float[ndarray, "cell phase"]:
    """S and G2/M score of each of the rows, in two passes.

    Parameters
    ----------
    genes
        Names of the S and of the G2/M genes.
    group
        A code from 0 for each row; control genes are chosen in each group of cells by itself (scib: in each batch).

    Raises
    ------
    GeneMismatchError
        If the atlas has none of the genes of a phase.

    Notes
    -----
    Equal to `scanpy.tl.score_genes_cell_cycle` on each group's x, its draws of control genes too: mean of x over a
    phase's genes, less the mean over as many control genes as the shorter list has names, drawn from each of the 25
    bins of mean expression in which one of its genes lies.
    """
    place = {str(gene): index for index, gene in enumerate(atlas.genes)}
    found = [np.unique([place[gene] for gene in names if gene in place]).astype(np.int64) for names in genes]
    for name, wanted, own in zip(("S", "G2/M"), genes, found, strict=True):
        if not own.size:
            hint = names_hint(list(wanted), place)
            raise GeneMismatchError(f"{atlas.path}: none of the {len(wanted)} {name} genes is there. {hint}".rstrip())
    n_controls = min(len(genes[0]), len(genes[1]))
    n_groups = int(group.max()) + 1
    logs = logs_of(atlas, mean_total)
    sums, _ = group_sums(atlas, group, n_groups, rows, logs, client=client, progress=progress, what="gene means")
    weight = np.zeros((n_groups, 2, atlas.n_genes))
    for code in range(n_groups):
        bins = _expression_bins(sums.mean[code])
        for phase, own in enumerate(found):
            control = _controls(bins, own, n_controls, np.random.RandomState(seed))
            if not control.size:
                raise GeneMismatchError(
                    f"{atlas.path}: with {atlas.n_genes} genes none is left to compare the cycle genes with."
                )
            weight[code, phase, own] = 1 / own.size
            weight[code, phase, control] -= 1 / control.size
    group_of = np.full(atlas.n_cells, -1, np.int64)
    group_of[rows] = group
    flat = weight.reshape(2 * n_groups, -1).T

    def chunk_scores(counts: Any, chunk: Rows) -> Float[ndarray, "cell phase"]:
        every = logs(counts, chunk) @ flat
        cell = np.arange(len(chunk))
        first = 2 * group_of[chunk]
        return np.stack([every[cell, first], every[cell, first + 1]], axis=1)

    parts = map_cells(chunk_scores, atlas, rows, client=client, progress=progress, what="cell cycle")
    return np.concatenate(list(parts))


def _expression_bins(mean: Float[ndarray, " gene"]) -> Int[ndarray, " gene"]:
    """The bin of each gene, by the rank of its mean."""
    width = max(int(np.round(len(mean) / (N_BINS - 1))), 1)
    return np.asarray(rankdata(mean, method="min") // width, np.int64)


def _controls(
    bins: Int[ndarray, " gene"], own: Int[ndarray, " own"], n_controls: int, random: np.random.RandomState
) -> Int[ndarray, " control"]:
    """Genes drawn from the bins of the own genes, the own ones then taken out."""
    drawn = []
    for code in np.unique(bins[own]):
        pool = np.flatnonzero(bins == code)
        # numpy's older generator, because scanpy draws from it: the same seed gives the same controls.
        drawn.append(pool[random.choice(pool.size, n_controls, replace=False)] if n_controls < pool.size else pool)
    return np.setdiff1d(np.concatenate(drawn), own)
