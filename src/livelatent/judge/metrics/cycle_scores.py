"""S and G2M scores of an atlas's cells, each group of cells scored by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from livelatent.arrays import Float, Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.group_sums import group_sums
from livelatent.atlas.passes import logs_of, map_cells
from livelatent.errors import GeneMismatchError
from livelatent.judge.cell_cycle import cycle_genes
from livelatent.progress import CellProgress

__all__ = ["cycle_scores"]


def cycle_scores(
    atlas: Atlas,
    rows: Rows,
    lists: Mapping[str, Sequence[str]],
    group: Int[ndarray, " cell"],
    *,
    mean_total: float | None = None,
    seed: int = 0,
    client: Any = None,
    progress: CellProgress | None = None,
) -> Float[ndarray, "cell phase"]:
    """S and G2M score of each of the rows, in two passes.

    Parameters
    ----------
    lists
        Genes of S and G2M, as `cycle_lists` gives them.
    group
        A code from 0 for each row; control genes are chosen in each group of cells by itself (scib: in each batch).

    Raises
    ------
    GeneMismatchError
        If the atlas has none of the genes of a phase.

    Notes
    -----
    Equal to `scanpy.tl.score_genes_cell_cycle` on each group's x.
    """
    n_groups = int(group.max()) + 1
    logs = logs_of(atlas, mean_total)
    sums, _ = group_sums(atlas, group, n_groups, rows, logs, client=client, progress=progress, what="gene means")
    names = [str(gene) for gene in atlas.genes]
    try:
        chosen = [cycle_genes(lists, names, mean, seed=seed) for mean in sums.mean]
    except GeneMismatchError as error:
        raise GeneMismatchError(f"{atlas.path}: {error}") from error
    # Two columns a group: one product scores a cell in every group, and its own is kept.
    flat = np.concatenate([own.weights(atlas.n_genes) for own in chosen]).T
    group_of = np.full(atlas.n_cells, -1, np.int64)
    group_of[rows] = group

    def chunk_scores(counts: Any, chunk: Rows) -> Float[ndarray, "cell phase"]:
        every = logs(counts, chunk) @ flat
        cell = np.arange(len(chunk))
        first = 2 * group_of[chunk]
        return np.stack([every[cell, first], every[cell, first + 1]], axis=1)

    parts = map_cells(chunk_scores, atlas, rows, client=client, progress=progress, what="cell cycle")
    return np.concatenate(list(parts))
