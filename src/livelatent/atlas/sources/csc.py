"""Matrices that lie in another order than by cell: brought into it through files, in bounded memory."""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.atlas.sources.matrices import (
    POINTERS,
    Container,
    array_in,
    pieces,
    plain_indices,
    plain_values,
    pointers_between,
)
from livelatent.atlas.sources.source import Csr
from livelatent.errors import SourceError


class RowFiles:
    """Values thrown into files by range of rows, in any order; given back range by range, each sorted in memory.

    A record is row (in its range), column and value. Ranges are equal in rows, so that one pass suffices; a range with
    more values than may be held at once is read several times, for a part of its rows each time.
    """

    def __init__(self, folder: Path, n_rows: int, n_columns: int, n_elements: int, max_elements: int) -> None:
        self.folder, self.n_rows, self.n_columns, self.max_elements = folder, n_rows, n_columns, max_elements
        # Half full on average, so that most ranges fit at once although cells differ.
        n_ranges = min(max(1, -(-2 * n_elements // max_elements)), 1000, max(n_rows, 1))
        self.rows_per_range = max(1, -(-n_rows // n_ranges))
        self.kind: np.dtype[Any] | None = None

    def plan(self, of: str) -> dict[str, Any]:
        """What makes files of an earlier call usable by this one."""
        return {"of": of, "n_rows": self.n_rows, "n_columns": self.n_columns, "rows_per_range": self.rows_per_range}

    def found(self, of: str) -> bool:
        """Whether an earlier call has thrown everything already."""
        try:
            done = json.loads((self.folder / "done.json").read_bytes())
            self.kind = np.dtype([("row", "<i4"), ("column", "<i4"), ("value", np.dtype(done.pop("value")))])
        except (OSError, ValueError, TypeError, KeyError):
            return False
        return bool(done == self.plan(of))

    def start(self, value: "np.dtype[Any]") -> None:
        """Empty the folder and take values of this type."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.kind = np.dtype([("row", "<i4"), ("column", "<i4"), ("value", value)])

    def add(self, rows: ndarray, columns: ndarray, values: ndarray) -> None:
        """Append to the files; rows and columns have been checked."""
        if not rows.size:
            return
        place = rows // self.rows_per_range
        records = np.empty(rows.size, self.kind)
        records["row"], records["column"], records["value"] = rows - place * self.rows_per_range, columns, values
        if (place[1:] < place[:-1]).any():
            order = np.argsort(place, kind="stable")
            place, records = place[order], records[order]
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(place)) + 1, [place.size]])
        for start, stop in itertools.pairwise(cuts):
            with open(self.folder / str(int(place[start])), "ab") as file:
                records[start:stop].tofile(file)

    def finish(self, of: str) -> None:
        """Everything has been thrown: a later call may begin here."""
        assert self.kind is not None
        (self.folder / "done.json").write_text(json.dumps({**self.plan(of), "value": self.kind["value"].str}))

    def chunks(self, first_row: int) -> Iterator[tuple[int, Csr]]:
        """(First row, rows) from `first_row` on."""
        assert self.kind is not None
        for place in range(first_row // self.rows_per_range, -(-self.n_rows // self.rows_per_range)):
            start = place * self.rows_per_range
            high = min(self.rows_per_range, self.n_rows - start)
            low = max(0, first_row - start)
            path = self.folder / str(place)
            n_records = path.stat().st_size // self.kind.itemsize if path.exists() else 0
            if n_records <= self.max_elements:
                yield start + low, by_row(self.records(path, 0, n_records), low, high)
                continue
            lengths = np.zeros(high, np.int64)
            for records in self.blocks(path, n_records):
                lengths += np.bincount(records["row"], minlength=high)
            pointers = np.concatenate([[0], np.cumsum(lengths[low:])])
            for first, last in pieces(pointers, self.max_elements):
                some = [rows_between(records, low + first, low + last) for records in self.blocks(path, n_records)]
                yield start + low + first, by_row(np.concatenate(some), low + first, low + last)

    def blocks(self, path: Path, n_records: int) -> Iterator[ndarray]:
        """A file's records, some at a time."""
        step = max(1, self.max_elements // 4)
        for first in range(0, n_records, step):
            yield self.records(path, first, min(step, n_records - first))

    def records(self, path: Path, first: int, n_records: int) -> ndarray:
        """Some of a file's records; no file has none."""
        assert self.kind is not None
        if not n_records:
            return np.empty(0, self.kind)
        return np.fromfile(path, self.kind, count=n_records, offset=first * self.kind.itemsize)


def rows_between(records: ndarray, low: int, high: int) -> ndarray:
    """The records of rows `low` to `high`."""
    return records[(records["row"] >= low) & (records["row"] < high)]


def by_row(records: ndarray, low: int, high: int) -> Csr:
    """The records of rows `low` to `high`, sorted by row; within a row as they were thrown."""
    if low:
        records = rows_between(records, low, high)
    rows = records["row"] - low
    # numpy sorts u16 by radix, in one pass over the values.
    order = np.argsort(rows.astype(np.uint16) if high - low <= 65_536 else rows, kind="stable")
    indptr = np.zeros(high - low + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=high - low), out=indptr[1:])
    return Csr(data=records["value"][order], indices=records["column"][order], indptr=indptr)


@dataclass(frozen=True, kw_only=True)
class CscMatrix:
    """A sparse matrix stored by gene: one pass over its columns, through files in `scratch`."""

    container: Container
    where: str
    n_rows: int
    n_columns: int
    n_elements: int
    stamp: str
    """The source's sampled hash: files of an earlier call are used for the same source only."""

    @property
    def scratch_bytes(self) -> int:
        """Room that `chunks` takes on disk."""
        return 16 * self.n_elements

    def chunks(self, max_elements: int, *, first_row: int = 0, scratch: Path) -> Iterator[tuple[int, Csr]]:
        """(First row, rows), as `Matrix` has it."""
        files = RowFiles(scratch, self.n_rows, self.n_columns, self.n_elements, max_elements)
        of = f"{self.stamp} {self.where}"
        if not files.found(of):
            self.scatter(files, max_elements)
            files.finish(of)
        yield from files.chunks(first_row)
        shutil.rmtree(scratch, ignore_errors=True)

    def scatter(self, files: RowFiles, max_elements: int) -> None:
        """Throw every value into the files of its rows; a column may be read in parts."""
        with self.container.opened() as root:
            group = root[self.where]
            data, indices = array_in(group, "data"), array_in(group, "indices")
            files.start(plain_values(np.empty(0, data.dtype)).dtype)
            for block in range(0, self.n_columns, POINTERS):
                block_stop = min(block + POINTERS, self.n_columns)
                pointers = pointers_between(
                    self.container.path, self.where, group, block, block_stop, self.n_elements, self.n_rows
                )
                step = max(1, max_elements // 4)
                for first in range(int(pointers[0]), int(pointers[-1]), step):
                    last = min(first + step, int(pointers[-1]))
                    rows = plain_indices(np.asarray(indices[first:last])).astype(np.int64, copy=False)
                    if rows.min() < 0 or rows.max() >= self.n_rows:
                        raise SourceError(
                            f"{self.container.path}: a cell index of `{self.where}` lies outside 0..{self.n_rows - 1} "
                            f"(values {first}..{last - 1}). The file is damaged; get it again."
                        )
                    column = block + np.searchsorted(pointers, np.arange(first, last), side="right") - 1
                    files.add(rows, column, plain_values(np.asarray(data[first:last])))
