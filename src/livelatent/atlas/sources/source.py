"""What ingest asks of a source, whatever its format: names, tables column by column, matrices row by row.

A source holds nothing but names and small tables; whatever grows with the number of cells is read when it is asked
for, so that memory does not grow with the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy import ndarray


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a source was when it was read: enough to notice that it has changed since."""

    size: int
    mtime_ns: int
    sha256: str
    """Of the first, middle and last MiB of a file; of a folder, of its metadata and of every file's name and size."""


@dataclass(frozen=True)
class Csr:
    """Neighbouring rows of a matrix, as they were read.

    `indptr` (i64) starts at 0, never falls and ends at the length of `data` and `indices`, which are equal. `data` are
    integers or f32/f64 and `indices` u16, i32 or i64, in the machine's byte order. Nothing else is checked yet: an
    index may lie outside the genes, be repeated or out of order, a value may be any number.
    """

    data: ndarray
    indices: ndarray
    indptr: ndarray

    @property
    def n_rows(self) -> int:
        """Rows."""
        return int(self.indptr.size) - 1


class Matrix(Protocol):
    """Cells x genes (the columns are the source's `genes`), read in row order."""

    @property
    def where(self) -> str:
        """Its place in the source, for messages: `X`, `raw/X`, `layers/spliced`, `matrix`."""
        ...

    @property
    def n_elements(self) -> int:
        """Stored values, or a bound of them; for a dense matrix all of them."""
        ...

    @property
    def scratch_bytes(self) -> int:
        """Room that `chunks` takes in `scratch`; 0 where the matrix lies in row order."""
        ...

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), from `first_row` on; each of at most `max_elements` values, but one row at least.

        `scratch` is a folder (made where it is needed) for what can't be read in row order at once (CSC); it may
        be found as an earlier, killed call left it.
        """
        ...


class Rows(Protocol):
    """One dense vector per cell, such as a latent."""

    @property
    def n_columns(self) -> int:
        """Numbers per cell."""
        ...

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Their type, in the machine's byte order."""
        ...

    def chunks(self, max_elements: int) -> Iterator[tuple[int, ndarray]]:
        """(First row, rows) in row order; each of at most `max_elements` numbers, but one row at least."""
        ...


class Table(Protocol):
    """Obs: one row per cell, read column by column."""

    @property
    def n_rows(self) -> int:
        """Cells."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What `column` takes; columns that can't be carried are in the source's `left`."""
        ...

    def names(self) -> ndarray:
        """The index as text (an array of `str` objects)."""
        ...

    def column(self, name: str) -> "pd.Series[Any]":
        """One column under a plain index, text where older writers left bytes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file or folder on disk: what is in it, and how to read it."""

    path: Path
    name: str
    """The file's name, with as much of its folder as tells it from the other sources."""
    kind: str
    """`h5ad`, `zarr`, `10x h5`, `matrix market` or `annbatch`."""
    genes: tuple[str, ...]
    """The name of each of the matrix's columns."""
    var: pd.DataFrame
    """Gene columns, indexed by `genes`."""
    obs: Table
    counts: Matrix
    layers: dict[str, Matrix]
    """Matrices of the same cells and genes, the counts not among them."""
    obsm: dict[str, Rows]
    left: tuple[str, ...]
    """What is in the source and can't be carried along, in words: `uns`, `layers/x (of another shape)`."""
    elsewhere: str
    """The other places of this source where counts might be, for messages: `"raw", "counts"`."""
    fingerprint: Fingerprint
    livelatent: dict[str, Any] | None = None
    """`uns["livelatent"]` where the source is a store of ours, or its export."""

    @property
    def n_cells(self) -> int:
        """Rows of every matrix and table."""
        return self.obs.n_rows
