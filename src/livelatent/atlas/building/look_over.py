"""Chunks as they come from a source → chunks that can be scattered: checked, in order, in types the kernels know."""

import numpy as np
from numpy import ndarray
from scipy import sparse

from livelatent.atlas.building import kernels
from livelatent.atlas.layout import VALUE_TYPES
from livelatent.atlas.seen import LARGEST
from livelatent.atlas.sources.source import Csr, Matrix, Source
from livelatent.errors import CountsError, SourceError

LOG_CEILING = 25.0
"""log1p of the largest total anyone has measured stays below this."""


def native(rows: Csr) -> Csr:
    """The same in one of few types, so that the kernels are compiled for few; no value changes."""
    data, indices = rows.data, rows.indices
    if data.dtype.kind == "f" and data.dtype.itemsize > 8:
        data = data.astype(np.float64)
    elif data.dtype.kind == "f":
        data = data.astype(np.float64 if data.dtype.itemsize == 8 else np.float32, copy=False)
    elif data.dtype == np.uint64 and data.size and int(data.max()) >= 2**63:
        data = data.astype(np.float64)
    elif data.dtype != np.uint16:
        data = data.astype(np.int64, copy=False)
    if indices.dtype not in (np.int32, np.uint16):
        indices = indices.astype(np.int64, copy=False)
    return Csr(native_order(data), native_order(indices), rows.indptr.astype(np.int64, copy=False))


def native_order(values: ndarray) -> ndarray:
    """The same numbers in this machine's byte order."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def in_order(rows: Csr, places: ndarray, n_genes: int) -> Csr:
    """Every gene at its place in the store, once a row, rising; values of genes that share a place are added."""
    indices = places[rows.indices]
    kept = indices >= 0
    pointers = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    # Sums may leave u16, and the whole numbers that float32 holds.
    wide = rows.data.astype(np.float64 if rows.data.dtype.kind == "f" else np.int64, copy=False)
    matrix = sparse.csr_matrix((wide[kept], indices[kept], pointers), shape=(rows.n_rows, n_genes))
    matrix.sum_duplicates()
    return Csr(matrix.data, matrix.indices, matrix.indptr.astype(np.int64))


def rises(places: ndarray) -> bool:
    """Whether genes keep their order from the source to the store."""
    found = places[places >= 0]
    return bool((np.diff(found) > 0).all())


def looked_over_counts(
    source: Source, start: int, rows: Csr, places: ndarray, n_genes: int, total: ndarray, n_seen: ndarray
) -> tuple[Csr, ndarray, ndarray, "np.dtype[np.generic]"]:
    """Counts, checked.

    Parameters
    ----------
    start
        The chunk's first row in the source, for messages.
    total, n_seen
        Filled, per row: total counts and genes with a count, over all genes of the source.

    Returns
    -------
    Rows that can be scattered, the places of their genes, how many values of each row have one, and the first type
    that holds every value.

    Raises
    ------
    SourceError, CountsError
        If a gene index lies outside, or a value is no count; logarithms are recognised and the message says so.
    """
    rows = native(rows)
    n_kept = np.empty(rows.n_rows, np.int32)
    first, number, is_sorted, largest, is_single = kernels.survey(
        rows.data, rows.indices, rows.indptr, places, total, n_seen, n_kept
    )
    if number.any():
        refuse(source, start, rows, first, number, largest)
    if not is_sorted:
        # A gene named twice in a cell is one gene seen, with the sum; so the totals are taken once more.
        rows = in_order(rows, np.arange(places.size, dtype=np.int32), places.size)
        first, number, is_sorted, largest, is_single = kernels.survey(
            rows.data, rows.indices, rows.indptr, places, total, n_seen, n_kept
        )
        if number.any():
            refuse(source, start, rows, first, number, largest)
    if not rises(places):
        rows = in_order(rows, places, n_genes)
        places = np.arange(n_genes, dtype=np.int32)
        facts = kernels.survey_any(rows.data, rows.indices, rows.indptr, places, n_kept)
        largest, is_single = facts[2], facts[4]
    return rows, places, n_kept, count_type(largest, is_single)


def looked_over_layer(
    source: Source, matrix: Matrix, start: int, rows: Csr, places: ndarray, n_genes: int
) -> tuple[Csr, ndarray, ndarray, "np.dtype[np.generic]"]:
    """A layer's rows, which may hold any numbers; see `looked_over_counts`."""
    is_whole = rows.data.dtype.kind in "iu"
    rows = native(rows)
    n_kept = np.empty(rows.n_rows, np.int32)
    outside, is_sorted, largest, is_count, is_single = kernels.survey_any(
        rows.data, rows.indices, rows.indptr, places, n_kept
    )
    if outside < rows.data.size:
        refuse_index(source, matrix, start, rows)
    if not is_sorted or not rises(places):
        rows = in_order(rows, places, n_genes)
        places = np.arange(n_genes, dtype=np.int32)
        outside, is_sorted, largest, is_count, is_single = kernels.survey_any(
            rows.data, rows.indices, rows.indptr, places, n_kept
        )
    if is_whole and largest >= LARGEST:
        raise SourceError(
            f"{source.path}: `{matrix.where}` holds whole numbers above 2**53, which no float64 tells apart. Leave it "
            "behind: pass `layers=` with the others."
        )
    kind = count_type(largest, is_single) if is_count else VALUE_TYPES[2 if is_single else 3]
    return rows, places, n_kept, kind


def count_type(largest: float, is_single: bool) -> "np.dtype[np.generic]":
    """The first of u16, u32, f32, f64 that holds whole numbers up to `largest`."""
    if largest <= 65_535:
        return VALUE_TYPES[0]
    if largest <= 4_294_967_295:
        return VALUE_TYPES[1]
    return VALUE_TYPES[2 if is_single else 3]


def refuse_index(source: Source, matrix: Matrix, start: int, rows: Csr) -> None:
    """Raise for a gene index outside the genes."""
    raise SourceError(
        f"{source.path}: a gene index of `{matrix.where}` in rows {start}..{start + rows.n_rows - 1} lies outside "
        f"0..{len(source.genes) - 1}. The file is damaged; get it again."
    )


def refuse(source: Source, start: int, rows: Csr, first: ndarray, number: ndarray, largest: float) -> None:
    """Raise for the first fault: where it is, and where counts might be instead."""
    if number[kernels.OUTSIDE]:
        refuse_index(source, source.counts, start, rows)
    faults = {
        kernels.NOT_FINITE: ("NaN or infinite", "Replace these values"),
        kernels.NEGATIVE: ("negative", "Counts can't be; perhaps the matrix was scaled"),
        kernels.BROKEN: (
            "no whole numbers" + (" and look log-normalised" if largest < LOG_CEILING else ""),
            "Counts are needed",
        ),
        kernels.TOO_LARGE: ("too large", "No float64 tells counts above 2**53 apart"),
    }
    fault = next(fault for fault in faults if number[fault])
    what, reason = faults[fault]
    place = int(first[fault])
    row = int(np.searchsorted(rows.indptr, place, side="right")) - 1
    elsewhere = (
        f"This file also has {source.elsewhere}: pass the one with the counts as `counts`."
        if source.elsewhere
        else 'It has no other matrix; with the counts in `raw` or a layer you would pass counts="raw" or its name.'
    )
    raise CountsError(
        f"{source.path}: values of `{source.counts.where}` are {what} (cell {source.obs.names()[start + row]}, gene "
        f"{source.genes[int(rows.indices[place])]}: {rows.data[place]:g}; {int(number[fault])} such values in rows "
        f"{start}..{start + rows.n_rows - 1}). {reason}. {elsewhere}"
    )
