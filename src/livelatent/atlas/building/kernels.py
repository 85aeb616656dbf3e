"""Ingest's inner loops, compiled once: look over rows, throw them into buckets, lay them down in their new order.

Each goes over every stored value once. scipy's own indexing of the same rows cost 2 to 4 times as much CPU, most of
it in checks and copies of what had been checked already.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livelatent.compiled import compiled

OUTSIDE, NOT_FINITE, NEGATIVE, TOO_LARGE, BROKEN = range(5)
"""What `survey` looks for: the place of the first of each, and how many there are."""


def _survey(
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    total: NDArray[np.float64],
    n_seen: NDArray[np.int32],
    n_kept: NDArray[np.int32],
    first: NDArray[np.int64],
    number: NDArray[np.int64],
) -> tuple[bool, float, bool]:
    is_sorted, largest, is_single = True, 0.0, True
    for row in range(indptr.size - 1):
        row_total, seen, kept, last = 0.0, 0, 0, -1
        for k in range(indptr[row], indptr[row + 1]):
            gene = indices[k]
            if gene < 0 or gene >= places.size:
                first[0] = min(first[0], k)
                number[0] += 1
                continue
            if gene <= last:
                is_sorted = False
            last = gene
            value = float(data[k])
            if value == 0:
                continue
            fault = -1
            if not np.isfinite(value):
                fault = 1
            elif value < 0:
                fault = 2
            elif data[k] > 9007199254740992:  # as it is: 2**53 + 1 is no float64
                fault = 3
            elif value != np.floor(value):
                fault = 4
            if fault > 0:
                first[fault] = min(first[fault], k)
                number[fault] += 1
            if value > largest:
                largest = value
            if is_single and value > 16777216.0 and float(np.float32(value)) != value:
                is_single = False
            row_total += value
            seen += 1
            if places[gene] >= 0:
                kept += 1
        total[row], n_seen[row], n_kept[row] = row_total, seen, kept
    return is_sorted, largest, is_single


def survey(
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    total: NDArray[np.float64],
    n_seen: NDArray[np.int32],
    n_kept: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool, float, bool]:
    """Look over rows before anything is done with them, whatever they hold.

    Parameters
    ----------
    places
        For each gene of the source its place in the store, -1 where it has none.
    total, n_seen, n_kept
        Filled, per row: the sum, and how many values are not 0, over all genes and over those with a place.

    Returns
    -------
    The first place (or the length of `data`) and the number of: indices outside, values not finite, negative, above
    2**53, no whole numbers; whether the indices rise in every row; the largest value; whether float32 holds
    all.
    """
    first, number = np.full(5, data.size, np.int64), np.zeros(5, np.int64)
    facts = compiled(_survey)(data, indices, indptr, places, total, n_seen, n_kept, first, number)
    return first, number, *facts


def _survey_any(
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    n_kept: NDArray[np.int32],
) -> tuple[int, bool, float, bool, bool]:
    outside, is_sorted, largest, is_count, is_single = data.size, True, 0.0, True, True
    for row in range(indptr.size - 1):
        kept, last = 0, -1
        for k in range(indptr[row], indptr[row + 1]):
            gene = indices[k]
            if gene < 0 or gene >= places.size:
                outside = min(outside, k)
                continue
            if gene <= last:
                is_sorted = False
            last = gene
            value = float(data[k])
            if value == 0:
                continue
            if not (value >= 0 and value == np.floor(value) and value < 9007199254740992.0):
                is_count = False
            if is_single and value == value and float(np.float32(value)) != value:
                is_single = False
            largest = max(largest, abs(value))
            if places[gene] >= 0:
                kept += 1
        n_kept[row] = kept
    return outside, is_sorted, largest, is_count, is_single


def survey_any(
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    n_kept: NDArray[np.int32],
) -> tuple[int, bool, float, bool, bool]:
    """The same for a layer, whose values may be any numbers.

    Returns
    -------
    The first index outside the genes (or the length of `data`), whether indices rise in every row, the largest
    magnitude, whether all are whole and not negative, whether float32 holds all.
    """
    outside, is_sorted, largest, is_count, is_single = compiled(_survey_any)(data, indices, indptr, places, n_kept)
    return int(outside), bool(is_sorted), float(largest), bool(is_count), bool(is_single)


def _scatter(
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    bucket: NDArray[np.int32],
    ends: NDArray[np.int64],
    out_values: NDArray[Any],
    out_indices: NDArray[Any],
) -> None:
    for row in range(indptr.size - 1):
        at = ends[bucket[row]]
        for k in range(indptr[row], indptr[row + 1]):
            place = places[indices[k]]
            if place >= 0 and data[k] != 0:
                out_values[at] = data[k]
                out_indices[at] = place
                at += 1
        ends[bucket[row]] = at


def scatter(
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[np.int64],
    places: NDArray[np.int32],
    bucket: NDArray[np.int32],
    ends: NDArray[np.int64],
    out_values: NDArray[Any],
    out_indices: NDArray[Any],
) -> None:
    """Copy rows behind one another, bucket by bucket, without zeros and without genes that have no place.

    Parameters
    ----------
    bucket
        Of each row.
    ends
        Where the next row of each bucket goes in the outputs; moved on.
    """
    compiled(_scatter)(data, indices, indptr, places, bucket, ends, out_values, out_indices)


def _gather(
    values: NDArray[Any],
    indices: NDArray[Any],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    row: int,
    done: int,
    out_values: NDArray[Any],
    out_indices: NDArray[Any],
    at: int,
) -> tuple[int, int, int]:
    while row < start.size:
        n = min(length[row] - done, out_values.size - at)
        k = start[row] + done
        for i in range(n):
            out_values[at + i] = values[k + i]
        for i in range(n):
            out_indices[at + i] = indices[k + i]
        at += n
        done += n
        if done < length[row]:
            break
        row, done = row + 1, 0
    return row, done, at


def gather(
    values: NDArray[Any],
    indices: NDArray[Any],
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    row: int,
    done: int,
    out_values: NDArray[Any],
    out_indices: NDArray[Any],
    at: int,
) -> tuple[int, int, int]:
    """Lay rows down behind one another until they or the outputs are at an end.

    Parameters
    ----------
    start, length
        Of each row in `values` and `indices`, in the order to lay them down.
    row, done, at
        Where to go on: the row, how much of it is done, and the place in the outputs.

    Returns
    -------
    `row`, `done` and `at` for the next call; `row` is the number of rows when all are laid down.
    """
    row, done, at = compiled(_gather)(values, indices, start, length, row, done, out_values, out_indices, at)
    return int(row), int(done), int(at)
