"""Batches by name, and batches packed into folds."""

import numpy as np

from livelatent.arrays import Int, Rows, ndarray
from livelatent.atlas.atlas import Atlas

__all__ = ["batches_of", "packed"]


def batches_of(atlas: Atlas, rows: Rows) -> tuple[str, ...]:
    """Names of the batches that these cells are of; none where the atlas names no batch."""
    codes = np.unique(atlas.batch[rows])
    return tuple(atlas.batch_names[code] for code in codes if 0 <= code < len(atlas.batch_names))


def packed(n_cells: Int[ndarray, " batch"], n_folds: int) -> Int[ndarray, " batch"]:
    """The fold of each batch, as equal in cells as whole batches allow; -1 for one without a cell.

    Notes
    -----
    The largest batch first, each into the fold that is smallest by then.
    """
    fold, size = np.full(len(n_cells), -1, np.int64), np.zeros(n_folds, np.int64)
    for batch in np.argsort(-n_cells, kind="stable"):
        if n_cells[batch]:
            fold[batch] = smallest = int(np.argmin(size))
            size[smallest] += n_cells[batch]
    return fold
