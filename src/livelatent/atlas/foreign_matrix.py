"""The counts of files that we did not write, by places: read where they lie, checked as they are read."""

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray
from scipy import sparse

from livelatent.atlas.foreign_check import check_counts, n_falls_at, row_sums
from livelatent.atlas.foreign_parts import PIECE, DensePart, Untouched, part_of
from livelatent.atlas.sources.source import Csr, Source
from livelatent.atlas.stored_matrix import CsrArrays, StoredMatrix
from livelatent.atlas.stretches import Stretches
from livelatent.errors import SourceError, StoreError
from livelatent.progress import CellProgress, shown


class ForeignMatrix(StoredMatrix):
    """Cells x genes of one file, or of several behind one another.

    Parameters
    ----------
    sources
        Of the same genes in the same order.
    progress
        Told of the one pass over all counts that `totals` takes, and `indptr` where a matrix is dense.

    Notes
    -----
    A dense matrix is read as if its zeros were not stored. Whatever is read has been checked: `CountsError` and
    `SourceError` are those of ingest, but that a gene which comes twice in a cell is refused.
    """

    ascends = False

    def __init__(self, path: Path, sources: Sequence[Source], progress: CellProgress | bool | None) -> None:
        self.path = path
        self.sources = tuple(sources)
        self.name = sources[0].counts.where
        self.n_cells = sum(source.n_cells for source in sources)
        self.n_genes = len(sources[0].genes)
        self._first_row = np.cumsum([0, *(source.n_cells for source in sources)])
        self._progress = progress
        self._untouched = [Untouched(source.path, source.counts.where) for source in sources]
        self._parts = [part_of(source, functools.partial(self._lengths, k)) for k, source in enumerate(sources)]
        self._lock = threading.Lock()

    @property
    def totals(self) -> Float64[ndarray, " cell"]:
        """Sum of each cell's counts, over all genes: one pass over all counts, when it is first asked for."""
        return self._pass[0]

    @property
    def _pass(self) -> tuple[Float64[ndarray, " cell"], Int64[ndarray, " cell"]]:
        with self._lock:
            return self._passed

    @functools.cached_property
    def _passed(self) -> tuple[Float64[ndarray, " cell"], Int64[ndarray, " cell"]]:
        """Sum of each cell's counts; and, where a matrix is dense, how many of them are not 0."""
        has_dense = any(isinstance(part, DensePart) for part in self._parts)
        totals, lengths = np.zeros(self.n_cells), np.zeros(self.n_cells if has_dense else 0, np.int64)
        with shown(self._progress) as report:
            for source, untouched, first in zip(self.sources, self._untouched, self._first_row.tolist(), strict=False):
                for start, rows in source.counts.chunks(PIECE, scratch=Path()):
                    check_counts(source, start, rows)
                    cells = slice(first + start, first + start + rows.n_rows)
                    totals[cells] = row_sums(rows.data, rows.indptr)
                    if has_dense:
                        lengths[cells] = np.diff(rows.indptr)
                    report(cells.stop, self.n_cells, f"counts per cell of {self.path.name}")
                untouched.check()
        return totals, lengths

    def _lengths(self, number: int) -> Int64[ndarray, " cell"]:
        return self._pass[1][self._first_row[number] : self._first_row[number + 1]]

    @functools.cached_property
    def indptr(self) -> Int64[ndarray, " pointer"]:
        """Where each row's values begin."""
        if len(self._parts) == 1:
            return self._parts[0].indptr
        ends = np.cumsum([0, *(part.indptr[-1] for part in self._parts)])
        parts = [part.indptr[1:] + end for part, end in zip(self._parts, ends.tolist(), strict=False)]
        return np.concatenate([[0], *parts]).astype(np.int64)

    @functools.cached_property
    def data_type(self) -> "np.dtype[Any]":
        """Of the values that are read."""
        return np.result_type(*(part.data_type for part in self._parts))

    @functools.cached_property
    def index_type(self) -> "np.dtype[Any]":
        """Of the gene indices that are read."""
        return np.result_type(*(part.index_type for part in self._parts))

    def check_untouched(self) -> None:
        """Raise where a file is not the one that was opened."""
        for untouched in self._untouched:
            untouched.check()

    def csr(self) -> CsrArrays:
        """None of ours: StoreError."""
        raise StoreError(
            f"{self.path} was not written by livelatent, and its counts lie in it in a way of their own; "
            "`values_between` and `read_rows` read them. Ingest it to have the arrays themselves."
        )

    def read_stretches(self, stretches: Stretches, data: ndarray, indices: ndarray, what: str = "") -> None:
        """Fill parts of two arrays of `data_type` and `index_type` with stretches of the values.

        Raises
        ------
        SourceError, CountsError
            If they can't be read, are no counts, or name a gene that is none, or one twice in a cell.
        StoreError
            If the file is not the one that was opened.
        """
        n_values = int(self.indptr[-1])
        if data.shape != indices.shape or not stretches.lie_within(n_values, data):
            raise ValueError(f"{stretches} of {n_values} values do not fit in {data.shape} and {indices.shape}.")
        for number, part in enumerate(self._parts):
            begin = int(self.indptr[self._first_row[number]])
            own = stretches.between(begin, begin + int(part.indptr[-1]))
            if len(own.first):
                self._read_part(number, own, data, indices)

    def _read_part(self, number: int, stretches: Stretches, data: ndarray, indices: ndarray) -> None:
        part = self._parts[number]
        if data.dtype != part.data_type or indices.dtype != part.index_type:
            # Another part's types are wider.
            for first, last, at in stretches.each():
                values, genes = (np.empty(last - first, kind) for kind in (part.data_type, part.index_type))
                self._read_part(number, Stretches.one(first, last), values, genes)
                data[at : at + values.size], indices[at : at + genes.size] = values, genes
            return
        first_row = np.searchsorted(part.indptr, stretches.first, side="right") - 1
        last_row = np.searchsorted(part.indptr, stretches.last, side="left")
        try:
            of_data, of_indices = part.read_stretches(stretches, data, indices)
        except SourceError as error:
            # One that was written again is read by what was known of the other.
            self._untouched[number].check()
            told = ", ".join(f"{a} to {b - 1}" for a, b in zip(first_row.tolist(), last_row.tolist(), strict=True))
            raise SourceError(f"{error} (Rows {told} of `{self.name}` were read.)") from error
        are_plain = (of_data.n_odd == 0) & of_indices.are_below(self.n_genes)
        for k, (first, last, at) in enumerate(stretches.each()):
            start, inside = int(first_row[k]), slice(at, at + last - first)
            pointers = np.clip(part.indptr[start : int(last_row[k]) + 1], first, last) - first
            if not (are_plain[k] and of_indices.n_falls[k] == n_falls_at(pointers, indices[inside])):
                check_counts(part.source, start, Csr(data[inside], indices[inside], pointers))
        self._untouched[number].check()

    def read_rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows `start` to `stop` as they are stored; of a dense matrix without its zeros."""
        start, stop, _ = slice(start, stop).indices(self.n_cells)
        stop = max(start, stop)
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        data, indices = self.values_between(first, last)
        pointers = self.indptr[start : stop + 1] - first
        return sparse.csr_matrix((data, indices.astype(np.int32), pointers), shape=(stop - start, self.n_genes))

    def shards_of(self, first: int, last: int) -> str:
        """The files that hold stored values `first` to `last`, for a message."""
        begin = self.indptr[self._first_row]
        names = [
            f"{source.path.name}/{source.counts.where}"
            for source, low, high in zip(self.sources, begin, begin[1:], strict=False)
            if low < max(last, first + 1) and first < high
        ]
        return " or ".join(names)
