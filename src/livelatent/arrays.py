"""The words for array axes and the types that carry them.

Axis names used in shape strings: cell, gene, label, batch, latent, prototype, component, neighbor, dim.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt
from numpy import ndarray

__all__ = ["Bool", "Float", "Int", "Rows", "UInt", "as_rows", "ndarray", "rows_or_all"]

Rows = Int[ndarray, " cell"]
"""Row numbers of a store: sorted, unique, int64."""


def as_rows(rows: object, n_cells: int) -> Rows:
    """Sorted unique row numbers from a mask or any integer sequence.

    Raises
    ------
    ValueError
        If a row lies outside 0..n_cells - 1 or is no whole number, or a mask has another length.
    """
    array = np.asarray(rows)
    if array.dtype == bool:
        if array.shape != (n_cells,):
            raise ValueError(f"a mask over {n_cells} cells was wanted; got one of shape {array.shape}.")
        return np.flatnonzero(array).astype(np.int64)
    if array.size and (array.dtype.kind not in "iu" or array.ndim != 1):
        raise ValueError(
            f"rows are whole numbers in 0..{n_cells - 1}, along one axis, or a mask over {n_cells} cells; got "
            f"{array.dtype} of shape {array.shape}."
        )
    result = np.unique(array.astype(np.int64))
    if result.size and (result[0] < 0 or result[-1] >= n_cells):
        raise ValueError(f"rows must lie in 0..{n_cells - 1}; got {int(result[0])}..{int(result[-1])}.")
    return result


def rows_or_all(rows: object | None, n_cells: int) -> Rows:
    """What `as_rows` gives, and every row for None. Apart from it, so that no journal takes a None for all cells."""
    return np.arange(n_cells, dtype=np.int64) if rows is None else as_rows(rows, n_cells)
