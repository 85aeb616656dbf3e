"""One gene in some cells, as a person reads it on the map."""

from collections.abc import Callable

import numpy as np
from numpy import ndarray

from livelatent.arrays import Float, Int, Rows
from livelatent.atlas.atlas import Atlas

__all__ = ["UNIT", "gene_place", "gene_values", "holds_counts", "unit_of"]

UNIT = "log1p of counts scaled to the atlas's mean depth"
SLAB_CELLS = 2048
"""Rows held at once: every gene of a row is decoded, and one is kept."""


def holds_counts(atlas: Atlas) -> bool:
    """Whether the first cells hold whole numbers only; an AnnData in memory may hold logs, shown as they are."""
    data = atlas.read_rows(0, min(atlas.n_cells, 256)).data
    return bool((data == np.floor(data)).all())


def unit_of(atlas: Atlas) -> str:
    """What `gene_values` gives."""
    return UNIT if holds_counts(atlas) else "as it is stored"


def gene_place(atlas: Atlas, gene: str) -> int | None:
    """The gene's column; None where the atlas has no gene of that name."""
    found: Int[ndarray, " gene"] = np.flatnonzero(atlas.genes == gene)
    return int(found[0]) if len(found) else None


def gene_values(
    atlas: Atlas,
    gene: str,
    rows: Rows,
    *,
    mean_total: float | None = None,
    goes_on: Callable[[int], bool] = lambda done: True,
) -> Float[ndarray, " cell"]:
    r"""log1p(count * mean_total / total) of one gene; NaN where the atlas lacks it, 0 in an empty cell.

    Where the atlas holds no counts, its values are given as they are.

    Parameters
    ----------
    rows
        Sorted; only these are read.
    mean_total
        Mean total count to scale cells to; None means the atlas's own.
    goes_on
        Told how many cells are done; False ends it early, and the rest is NaN.
    """
    result = np.full(len(rows), np.nan, np.float32)
    place = gene_place(atlas, gene)
    if place is None:
        return result
    is_count = holds_counts(atlas)
    scale = atlas.mean_total if mean_total is None else float(mean_total)
    for start in range(0, len(rows), SLAB_CELLS):
        slab = rows[start : start + SLAB_CELLS]
        is_run = len(slab) and slab[-1] - slab[0] == len(slab) - 1
        counts = atlas.read_rows(int(slab[0]), int(slab[-1]) + 1) if is_run else atlas.read_cells(slab)
        own = np.zeros(len(slab))
        mine = np.flatnonzero(counts.indices == place)
        own[np.searchsorted(counts.indptr, mine, side="right") - 1] = counts.data[mine]
        if is_count:
            total = np.asarray(atlas.total[slab], np.float64)
            own = np.log1p(np.divide(own * scale, total, out=np.zeros(len(slab)), where=total > 0))
        result[start : start + len(slab)] = own
        if not goes_on(start + len(slab)):
            break
    return result
