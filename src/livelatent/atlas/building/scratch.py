"""The first pass of the two-pass shuffle, on disk: each chunk of rows, sorted by the bucket that each row drew.

A row goes to a bucket at random and each bucket is permuted at random, so the whole is a uniform permutation.
Chunks are appended to two files, so that a killed pass goes on where it was last saved: everything
behind that is cut off.
"""

import functools
import itertools
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy import ndarray

from livelatent.atlas.building import kernels
from livelatent.atlas.layout import VALUE_TYPES, index_type, wider
from livelatent.atlas.sources.source import Csr
from livelatent.atomic import sync_folder
from livelatent.errors import StoreError


class Column:
    """One number per cell in source order, in memory and, as far as it was saved, on disk."""

    def __init__(self, path: Path, kind: str, n_cells: int, n_saved: int) -> None:
        self.path = path
        self.values = np.zeros(n_cells, kind)
        self.n_saved = n_saved
        with open(path, "a+b") as file:
            cut_off(file, n_saved * self.values.itemsize)
            file.seek(0)
            self.values[:n_saved] = np.frombuffer(file.read(), kind)

    def save(self, n_known: int) -> None:
        """Append what was learnt since the last time."""
        with open(self.path, "ab") as file:
            file.write(self.values[self.n_saved : n_known].data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        self.n_saved = n_known


class Scratch:
    """The values of one matrix, chunk after chunk, each chunk bucket after bucket.

    Parameters
    ----------
    bucket_of
        The bucket of each row, drawn before.
    saved
        What `save` gave, to go on from there.
    """

    def __init__(self, folder: Path, bucket_of: ndarray, n_buckets: int, n_genes: int, saved: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.bucket_of, self.n_buckets = folder, bucket_of, n_buckets
        self.index_type = index_type(n_genes)
        self.n_rows = int(saved.get("rows", 0))
        """Rows added."""
        self._first = [int(first) for first, _ in saved.get("chunks", [])]
        self._kind = [np.dtype(kind) for _, kind in saved.get("chunks", [])]
        self._lengths = Column(folder / "lengths", "int32", bucket_of.size, self.n_rows)
        bounds = [*self._first, self.n_rows]
        # Per chunk, where each bucket ends in it.
        self._ends = [np.cumsum(self._sizes(a, b)) for a, b in itertools.pairwise(bounds)]
        self._files = {name: open(folder / name, "a+b") for name in ("values", "indices")}
        bytes_of = {"values": self._kind, "indices": [self.index_type] * len(self._kind)}
        try:
            for name, file in self._files.items():
                cut_off(file, sum(int(e[-1]) * k.itemsize for e, k in zip(self._ends, bytes_of[name], strict=True)))
        except StoreError:
            self.close()
            raise

    @property
    def lengths(self) -> ndarray:
        """Stored values of each row, in source order."""
        return self._lengths.values

    @property
    def n_elements(self) -> int:
        """Values added."""
        return int(self.lengths.sum(dtype=np.int64))

    def _sizes(self, first: int, stop: int) -> ndarray:
        """Values of each bucket in the rows from `first` to `stop`."""
        sizes = np.bincount(self.bucket_of[first:stop], self.lengths[first:stop], self.n_buckets)
        return sizes.astype(np.int64)

    def add(self, rows: Csr, places: ndarray, n_kept: ndarray, kind: "np.dtype[Any]") -> None:
        """Append the next rows; every index lies inside `places`, and `kind` holds every value."""
        first, stop = self.n_rows, self.n_rows + rows.n_rows
        self.lengths[first:stop] = n_kept
        sizes = self._sizes(first, stop)
        bucket_ends = np.cumsum(sizes)
        values, indices = np.empty(int(bucket_ends[-1]), kind), np.empty(int(bucket_ends[-1]), self.index_type)
        ends = bucket_ends - sizes
        kernels.scatter(rows.data, rows.indices, rows.indptr, places, self.bucket_of[first:stop], ends, values, indices)
        self._files["values"].write(values.data)  # unlike `tofile`, this says that the disk is full
        self._files["indices"].write(indices.data)
        self._first.append(first)
        self._kind.append(kind)
        self._ends.append(bucket_ends)
        self.n_rows = stop

    def save(self) -> dict[str, Any]:
        """Make all that was added durable; what a later `Scratch` needs to go on."""
        self._lengths.save(self.n_rows)
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        # A file that is durable in a folder that is not would be gone.
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        chunks = [(first, kind.name) for first, kind in zip(self._first, self._kind, strict=True)]
        return {"rows": self.n_rows, "chunks": chunks}

    def value_type(self) -> "np.dtype[Any]":
        """The first type that holds the values of every chunk."""
        return functools.reduce(wider, self._kind, VALUE_TYPES[0])

    def bucket(self, number: int, kind: "np.dtype[Any]") -> tuple[ndarray, ndarray]:
        """Values (as `kind`) and gene indices of one bucket, its rows in source order."""
        bounds = [(int(ends[number - 1]) if number else 0, int(ends[number])) for ends in self._ends]
        n = sum(stop - first for first, stop in bounds)
        values, indices = np.empty(n, kind), np.empty(n, self.index_type)
        handles = {name: file.fileno() for name, file in self._files.items()}
        done, byte, element = 0, 0, 0
        for (first, stop), ends, own in zip(bounds, self._ends, self._kind, strict=True):
            here = slice(done, done + stop - first)
            part = values[here] if own == kind else np.empty(stop - first, own)
            read_into(part, handles["values"], byte + first * own.itemsize)
            if own != kind:
                values[here] = part
            read_into(indices[here], handles["indices"], (element + first) * self.index_type.itemsize)
            done, byte, element = here.stop, byte + int(ends[-1]) * own.itemsize, element + int(ends[-1])
        return values, indices

    def flush(self) -> None:
        """Hand everything to the system, so that it can be read back."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Close the files; they stay."""
        for file in self._files.values():
            file.close()


def cut_off(file: BinaryIO, n_bytes: int) -> None:
    """Forget what lies behind what was saved.

    Raises
    ------
    StoreError
        If less is there (a disk that loses what it said was safe, a folder tidied up): zeros would be wrong counts.
    """
    n_there = os.fstat(file.fileno()).st_size
    if n_there < n_bytes:
        raise StoreError(
            f"{file.name} has {n_there} bytes, {n_bytes} were saved: the work that a killed call left is damaged. "
            "It is thrown away; the same call begins anew."
        )
    file.truncate(n_bytes)


def read_into(array: ndarray, handle: int, offset: int) -> None:
    """Fill an array from a place in a file."""
    view, done = memoryview(array).cast("B") if array.size else memoryview(b""), 0
    while done < len(view):
        n = os.preadv(handle, [view[done:]], offset + done)
        if n == 0:
            raise OSError(f"scratch ends at byte {offset + done}.")
        done += n
