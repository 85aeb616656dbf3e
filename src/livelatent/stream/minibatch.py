"""Counts of a group → one dense, normalised minibatch."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from livelatent.arrays import Float, Int


@dataclass(frozen=True)
class Minibatch:
    """The cells of one optimiser step."""

    x: Float[Tensor, "cell gene"]
    """log1p(count * mean_total / total)"""
    label: Int[Tensor, " cell"]
    """Codes; -1 is no label."""
    batch: Int[Tensor, " cell"]
    cell: Int[Tensor, " cell"]
    """Store rows."""
    total: Float[Tensor, " cell"]
    """Total counts, over all genes measured in the source."""

    @property
    def n_cells(self) -> int:
        """How many cells it holds."""
        return len(self.cell)


def scatter_log(
    data: NDArray[Any],
    indices: NDArray[Any],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    gene_map: NDArray[np.int32],
    scale: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Write log1p(count * scale) of each cell's counts to its row of `out`, which must hold zeros.

    Parameters
    ----------
    data, indices
        Counts and gene numbers; cell i's are those from `start[i]` to `stop[i]`.
    gene_map
        Column of `out` per gene of the store; -1 leaves the gene out.
    """
    _compiled()(data, indices, start, stop, gene_map, scale, out)


def _scatter_log(
    data: NDArray[Any],
    indices: NDArray[Any],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    gene_map: NDArray[np.int32],
    scale: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    # Gene map, scatter, scaling and log1p in one pass. Single precision after the product: a logarithm in double
    # costs more than the rest and changes nothing that float32 can show.
    for cell in range(start.size):
        row = out[cell]
        for k in range(start[cell], stop[cell]):
            column = gene_map[indices[k]]
            if column >= 0:
                row[column] = np.log1p(np.float32(data[k] * scale[cell]))


@functools.cache
def _compiled() -> Callable[..., None]:
    # numba takes a second to import, so it waits until the first minibatch. Not `parallel`: numba's workqueue
    # aborts the process when two threads enter it (DESIGN, decision 4).
    import numba

    compiled: Callable[..., None] = numba.njit(nogil=True, cache=True)(_scatter_log)
    return compiled
