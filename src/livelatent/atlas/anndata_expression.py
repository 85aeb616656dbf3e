"""Expression in an AnnData that somebody else prepared: counts, logs of counts, or nothing that can be compared."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int, Shaped
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import Rows
from livelatent.errors import CountsError

__all__ = ["Expression", "expression_of"]

LOOKED_AT = 256
"""Cells by which a matrix is judged; all of a large one would take a pass over the file."""
PIECE_CELLS = 4096
USUAL_TOTAL = 1e4
"""What cells of logs are said to have in all: they were normalised already, so any number that is the same will do."""

Kind = Literal["counts", "logs"]


@dataclass(frozen=True, eq=False)
class Expression:
    """A matrix of an AnnData as counts. Of logs it gives back their exponentials, whose logs they are again."""

    name: str
    kind: Kind
    matrix: Any
    var: pd.DataFrame

    @property
    def genes(self) -> Shaped[ndarray, " gene"]:
        """Names of the columns."""
        return np.array([str(name) for name in self.var.index], dtype=object)

    def read(self, rows: Rows) -> sparse.csr_matrix:
        """Counts of sorted rows; of a backed matrix, these rows alone are read."""
        x = _block(self.matrix, rows)
        if self.kind == "logs":
            x.data = np.expm1(x.data)
        return x

    def totals(self, n_cells: int) -> Float64[ndarray, " cell"]:
        """Counts of each cell in all; the same number for all where they are normalised already."""
        if self.kind == "logs":
            return np.full(n_cells, USUAL_TOTAL)
        parts = [
            np.asarray(self.read(np.arange(start, min(start + PIECE_CELLS, n_cells))).sum(axis=1), np.float64).ravel()
            for start in range(0, n_cells, PIECE_CELLS)
        ]
        return np.concatenate([np.zeros(0), *parts])


def expression_of(adata: Any, counts: str | None = None) -> Expression | None:
    """The matrix that genes are compared by; None where no matrix holds counts or their logs (scaled values alone).

    Parameters
    ----------
    counts
        `"X"`, `"raw"` or a layer's name. None looks for counts in the layer `counts`, raw and X, then for logs.

    Raises
    ------
    CountsError
        If the matrix that was named is not there, or holds neither.
    """
    places: dict[str, tuple[Any, pd.DataFrame]] = {}
    if "counts" in adata.layers:
        places["counts"] = (adata.layers["counts"], adata.var)
    if adata.raw is not None:
        places["raw"] = (adata.raw.X, adata.raw.var)
    if adata.X is not None:
        places["X"] = (adata.X, adata.var)
    if counts is not None:
        if counts in adata.layers:
            places[counts] = (adata.layers[counts], adata.var)
        if counts not in places:
            held = [*places, *(str(name) for name in adata.layers if name is not None and name not in places)]
            raise CountsError(f"the AnnData has no matrix {counts!r}. It has: {', '.join(held) or 'none'}.")
        places = {counts: places[counts]}
    kinds = {name: _kind(matrix, adata.n_obs) for name, (matrix, _) in places.items()}
    for wanted in ("counts", "logs"):
        for name, kind in kinds.items():
            if kind == wanted:
                return Expression(name, kind, *places[name])
    if counts is not None:
        raise CountsError(
            f"`{counts}` of the AnnData holds negative or missing values, so neither counts nor their logs. Name "
            "another matrix, or leave `counts` out to see the cells without their genes."
        )
    return None


def _kind(matrix: Any, n_cells: int) -> Kind | None:
    if 0 in matrix.shape:
        return None
    rows = np.unique(np.linspace(0, n_cells - 1, min(LOOKED_AT, n_cells)).astype(np.int64))
    values = _block(matrix, rows).data
    if not np.isfinite(values).all() or (values < 0).any():
        return None
    return "counts" if (values == np.rint(values)).all() else "logs"


def _block(matrix: Any, rows: Int[ndarray, " cell"]) -> sparse.csr_matrix:
    """Sorted rows of whatever an AnnData may hold: numpy, scipy, a file's, or Dask's."""
    block = matrix[rows]
    block = block.compute() if hasattr(block, "compute") else block
    return sparse.csr_matrix(block, dtype=np.float64)
