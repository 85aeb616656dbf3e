"""The two-pass bucket shuffle: rows are thrown into buckets on disk, each bucket is shuffled in memory.

A row goes to a bucket at random and each bucket is permuted at random, so the whole is a uniform permutation
(STREAM.md, 3e). Only one chunk, one bucket and one shard are in memory at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import sparse

from livelatent.atlas.layout import VALUE_TYPES, index_type, value_type, wider


@dataclass
class Buckets:
    """Rows on disk, scattered over `n_buckets` pairs of files."""

    folder: Path
    n_buckets: int
    bucket_of: np.ndarray[Any, Any]
    """The bucket of each row, drawn before."""
    n_genes: int
    row_elements: np.ndarray[Any, Any] = field(init=False)
    """Stored values of each row; known after the rows were added."""
    value_type: np.dtype[Any] = field(init=False)
    """The first type that holds every value seen so far."""

    def __post_init__(self) -> None:
        self.row_elements = np.zeros(self.bucket_of.size, np.int64)
        self.value_type = VALUE_TYPES[0]
        self._parts: list[list[tuple[np.dtype[Any], int]]] = [[] for _ in range(self.n_buckets)]
        self.folder.mkdir()

    def add(self, first_row: int, chunk: sparse.csr_matrix) -> None:
        """Throw the rows of a chunk into their buckets; rows must come in order."""
        lengths = np.diff(chunk.indptr).astype(np.int64)
        rows = slice(first_row, first_row + lengths.size)
        self.row_elements[rows] = lengths
        bucket = self.bucket_of[rows]
        kind = value_type(chunk.data)
        self.value_type = wider(self.value_type, kind)
        order = np.argsort(bucket, kind="stable")
        sorted_chunk = chunk[order]
        ends = np.searchsorted(bucket[order], np.arange(self.n_buckets + 1))
        indices = sorted_chunk.indices.astype(index_type(self.n_genes))
        values = sorted_chunk.data.astype(kind)
        for b in range(self.n_buckets):
            first, last = sorted_chunk.indptr[ends[b]], sorted_chunk.indptr[ends[b + 1]]
            if first == last:
                continue
            with open(self.folder / f"{b}.indices", "ab") as file:
                file.write(indices[first:last].data)  # unlike `tofile`, this says that the disk is full
            with open(self.folder / f"{b}.values", "ab") as file:
                file.write(values[first:last].data)
            self._parts[b].append((kind, int(last - first)))

    def take(self, bucket: int) -> tuple[np.ndarray[Any, Any], sparse.csr_matrix]:
        """One bucket's rows, and their values in the same (source) order; its files are removed."""
        rows = np.flatnonzero(self.bucket_of == bucket)
        n_values = sum(n for _, n in self._parts[bucket])
        values = np.empty(n_values, self.value_type)
        paths = self.folder / f"{bucket}.indices", self.folder / f"{bucket}.values"
        indices = np.empty(0, index_type(self.n_genes))
        if n_values:
            indices = np.fromfile(paths[0], index_type(self.n_genes))
            done = 0
            with open(paths[1], "rb") as file:
                for kind, n in self._parts[bucket]:
                    values[done : done + n] = np.fromfile(file, kind, n)
                    done += n
            for path in paths:
                path.unlink()
        pointers = np.concatenate([[0], np.cumsum(self.row_elements[rows])])
        matrix = sparse.csr_matrix((values, indices.astype(np.int32), pointers), shape=(rows.size, self.n_genes))
        return rows, matrix

    def shuffled(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray[Any, Any], sparse.csr_matrix]]:
        """Bucket after bucket: the source rows in their new order, and the matrix in that order."""
        for bucket in range(self.n_buckets):
            rows, matrix = self.take(bucket)
            order = rng.permutation(rows.size)
            yield rows[order], matrix[order]


class ShardWriter:
    """Appends to one long Zarr array in whole shards, so that no shard is written twice."""

    def __init__(self, array: "zarr.Array[Any]") -> None:
        self.array = array
        assert array.shards is not None
        self.shard = int(array.shards[0])
        self.done = 0
        self.held: list[np.ndarray[Any, Any]] = []
        self.n_held = 0

    def append(self, values: np.ndarray[Any, Any]) -> None:
        """Take values over; write every shard that is full."""
        while values.size:
            part = values[: self.shard - self.n_held]
            # A copy: a view would keep the whole bucket alive until its last shard is written.
            self.held.append(part.astype(self.array.dtype, copy=True))
            self.n_held += part.size
            values = values[part.size :]
            if self.n_held == self.shard:
                self.flush()

    def flush(self) -> None:
        """Write what is held; only the array's last shard may be part full."""
        if self.n_held:
            self.array[self.done : self.done + self.n_held] = np.concatenate(self.held)
            self.done += self.n_held
            self.held, self.n_held = [], 0
