"""The two-pass shuffle of one matrix: scattered over buckets on disk, then written bucket after bucket.

Only one chunk, one bucket and one shard are in memory. Both passes save how far they are, so that a killed ingest
goes on from there, to the same bytes: every draw follows from the seed and the number of a row or bucket.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from livelatent.atlas.building.look_over import looked_over_counts, looked_over_layer
from livelatent.atlas.building.matrix_writer import MatrixWriter
from livelatent.atlas.building.scratch import Column, Scratch
from livelatent.atlas.building.work import Work
from livelatent.atlas.sources.source import Matrix, Source
from livelatent.progress import CellProgress

SAVE_EVERY_S = 5.0
"""At most this much work is done twice after a kill, and a twentieth of the time goes into saving."""


class Shuffle:
    """A uniform random order of `n_cells` rows in pieces: a row's bucket at random, each bucket permuted at random.

    Parameters
    ----------
    seed
        Numbers that the draws follow from.
    """

    def __init__(self, n_cells: int, n_buckets: int, seed: Sequence[int]) -> None:
        self.n_buckets, self._seed = n_buckets, tuple(seed)
        kind = np.uint16 if n_buckets <= 65_536 else np.int32
        self.bucket_of: ndarray = self._generator(0).integers(0, n_buckets, n_cells, dtype=kind)
        """The bucket of each row."""
        order = np.argsort(self.bucket_of, kind="stable")
        self._by_bucket = order.astype(np.int32 if n_cells < 2**31 else np.int64, copy=False)
        self._ends = np.cumsum(np.bincount(self.bucket_of, minlength=n_buckets))

    def _generator(self, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((*self._seed, number))))

    def members(self, bucket: int) -> ndarray:
        """Rows of a bucket, rising."""
        return self._by_bucket[(self._ends[bucket - 1] if bucket else 0) : self._ends[bucket]]

    def permutation(self, bucket: int) -> ndarray:
        """The order of a bucket's rows."""
        return self._generator(bucket + 1).permutation(self.members(bucket).size)

    def order(self) -> ndarray:
        """The row that comes to each place."""
        return np.concatenate([self.members(b)[self.permutation(b)] for b in range(self.n_buckets)])


@dataclass(frozen=True)
class Part:
    """One source's share of a matrix of the store."""

    source: Source
    matrix: Matrix
    places: ndarray
    """For each gene of the source its place in the store, -1 where it has none."""


@dataclass
class Totals:
    """What is counted while the counts are read: per cell, in source order, over all genes of its source."""

    total: Column
    n_seen: Column

    @classmethod
    def of(cls, folder: Path, n_cells: int, n_known: int) -> "Totals":
        """Those in a folder, known for the first `n_known` cells."""
        return cls(
            Column(folder / "total", "float64", n_cells, n_known), Column(folder / "n_seen", "int32", n_cells, n_known)
        )

    def save(self, n_rows: int) -> None:
        """Make them durable up to a row."""
        self.total.save(n_rows)
        self.n_seen.save(n_rows)


def scatter_matrix(
    work: Work,
    scratch: Scratch,
    parts: Sequence[Part],
    n_genes: int,
    chunk_elements: int,
    totals: Totals | None,
    report: CellProgress,
    what: str,
) -> None:
    """First pass: check every chunk and throw its rows into their buckets; counts where `totals` are given."""
    n_cells = scratch.bucket_of.size
    saved_at, cost_s = time.monotonic(), 0.0

    def save() -> None:
        if totals is not None:
            totals.save(scratch.n_rows)
        work.save(scattered=scratch.save())

    report(scratch.n_rows, n_cells, what)
    first = 0
    for part in parts:
        begin = max(0, scratch.n_rows - first)
        if begin < part.source.n_cells:
            transposed = scratch.folder / "transposed"
            for start, rows in part.matrix.chunks(chunk_elements, first_row=begin, scratch=transposed):
                here = slice(first + start, first + start + rows.n_rows)
                if totals is not None:
                    found = looked_over_counts(
                        part.source,
                        start,
                        rows,
                        part.places,
                        n_genes,
                        totals.total.values[here],
                        totals.n_seen.values[here],
                    )
                else:
                    found = looked_over_layer(part.source, part.matrix, start, rows, part.places, n_genes)
                scratch.add(*found)
                report(scratch.n_rows, n_cells, what)
                if time.monotonic() - saved_at > max(SAVE_EVERY_S, 20 * cost_s):
                    began = time.monotonic()
                    save()
                    saved_at, cost_s = time.monotonic(), time.monotonic() - began
        first += part.source.n_cells
    save()


def write_matrix(
    writer: MatrixWriter,
    scratch: Scratch,
    shuffle: Shuffle,
    kind: "np.dtype[Any]",
    n_written: int,
    report: CellProgress,
    what: str,
) -> None:
    """Second pass: every bucket in its order, behind one another.

    Parameters
    ----------
    n_written
        How many of the values lie in whole shards since an earlier, killed call.
    """
    scratch.flush()
    done = n_values = 0
    for bucket in range(shuffle.n_buckets):
        members, order = shuffle.members(bucket), shuffle.permutation(bucket)
        lengths = scratch.lengths[members]
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        n = int(lengths.sum(dtype=np.int64))
        left = max(0, min(n, n_written - n_values))
        values, indices = (
            scratch.bucket(bucket, kind) if left < n else (np.empty(0, kind), np.empty(0, scratch.index_type))
        )
        writer.append(values, indices, lengths[order], starts[order], n_written=left)
        del values, indices
        n_values += n
        done += members.size
        report(done, scratch.bucket_of.size, what)
    writer.finish()
