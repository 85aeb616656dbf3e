"""Counts that nobody has looked over yet: a stretch is checked as it is read, before anything is done with it."""

from typing import Any

import numpy as np
from jaxtyping import Int, Num
from numpy import ndarray
from numpy.typing import NDArray

from livelatent.atlas.building import kernels
from livelatent.atlas.building.look_over import native, refuse
from livelatent.atlas.seen import LARGEST
from livelatent.atlas.sources.source import Csr, Source
from livelatent.compiled import compiled
from livelatent.errors import SourceError


def check_counts(source: Source, start: int, rows: Csr) -> None:
    """Raise what ingest would raise of these rows, and where a gene comes twice in a cell, which ingest would sum.

    Parameters
    ----------
    start
        The first row in the source.

    Raises
    ------
    SourceError, CountsError
        If a gene index lies outside, or a value is no count; logarithms are recognised and the message says so.
    """
    order = compiled(_order)(rows.indices, rows.indptr, len(source.genes))
    if order == OUTSIDE or not all_counts(rows.data):
        refuse_some(source, start, rows)
    if order == MIXED:
        seen = np.full(len(source.genes), -1, np.int64)
        place = int(compiled(_first_repeat)(rows.indices, rows.indptr, seen))
        if place >= 0:
            row = start + int(np.searchsorted(rows.indptr, place, side="right")) - 1
            raise SourceError(
                f"{source.path}: a cell of `{source.counts.where}` names one gene twice (cell "
                f"{source.obs.names()[row]}, row {row}, gene {source.genes[int(rows.indices[place])]}). Ingest the "
                "file, which adds the two counts up, or write it again after `adata.X.sum_duplicates()`."
            )


def n_falls_at(indptr: Int[ndarray, " pointer"], indices: Int[ndarray, " value"]) -> int:
    """How many rows begin with a gene that is not above the last one before; other falls are within a row."""
    begins = np.unique(indptr[1:-1])
    begins = begins[(begins > 0) & (begins < indices.size)]
    return int(np.count_nonzero(indices[begins] <= indices[begins - 1]))


def refuse_some(source: Source, start: int, rows: Csr) -> None:
    """Raise for rows that hold something that is no count, or a gene index outside the genes."""
    rows = native(rows)
    places = np.arange(len(source.genes), dtype=np.int32)
    total, n_seen = np.empty(rows.n_rows), np.empty(rows.n_rows, np.int32)
    first, number, _, largest, _ = kernels.survey(
        rows.data, rows.indices, rows.indptr, places, total, n_seen, np.empty_like(n_seen)
    )
    refuse(source, start, rows, first, number, largest)


def row_sums(data: Num[ndarray, " value"], indptr: Int[ndarray, " pointer"]) -> ndarray:
    """Sum of each row's values, one after the other in float64."""
    sums = np.empty(indptr.size - 1)
    compiled(_row_sums)(data, indptr, sums)
    return sums


def all_counts(data: Num[ndarray, " value"]) -> bool:
    """Whether all are whole numbers from 0 to 2**53."""
    if data.dtype.kind == "u" and data.dtype.itemsize <= 4:
        return True
    if data.dtype == np.uint64:
        data = data.view(np.int64)  # what is too large for it becomes negative
    return bool(compiled(_all_whole if data.dtype.kind == "f" else _all_within)(data))


RISING, MIXED, OUTSIDE = range(3)


# No loop below leaves early: without a way out the compiler does eight values at a time.


def _order(indices: NDArray[Any], indptr: NDArray[np.int64], n_genes: int) -> int:
    """Whether gene indices rise within every row, some don't, or some are none."""
    is_inside, n_falls = True, 0
    for k in range(indices.size):
        is_inside &= (indices[k] >= 0) & (indices[k] < n_genes)
    for k in range(1, indices.size):
        n_falls += indices[k] <= indices[k - 1]
    last = 0
    for row in range(1, indptr.size - 1):
        k = indptr[row]
        if last < k < indices.size:
            n_falls -= indices[k] <= indices[k - 1]
            last = k
    return 2 if not is_inside else 1 if n_falls else 0


def _all_whole(data: NDArray[Any]) -> bool:
    is_whole = True
    for k in range(data.size):
        is_whole &= (data[k] >= 0) & (data[k] <= LARGEST) & (np.floor(data[k]) == data[k])
    return is_whole


def _all_within(data: NDArray[Any]) -> bool:
    is_within = True
    for k in range(data.size):
        is_within &= (data[k] >= 0) & (data[k] <= LARGEST)
    return is_within


def _first_repeat(indices: NDArray[Any], indptr: NDArray[np.int64], seen: NDArray[np.int64]) -> int:
    """Place of the first gene index that its row has already; -1 where there is none. `seen` begins as -1."""
    for row in range(indptr.size - 1):
        for k in range(indptr[row], indptr[row + 1]):
            if seen[indices[k]] == row:
                return k
            seen[indices[k]] = row
    return -1


def _row_sums(data: NDArray[Any], indptr: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    for row in range(indptr.size - 1):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += data[k]
        sums[row] = total
