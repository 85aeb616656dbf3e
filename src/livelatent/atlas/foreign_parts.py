"""A matrix of others' by places: values from the first to the last, wherever in the file that is."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import zarr
from jaxtyping import Int64
from numpy import ndarray

from livelatent.atlas.array_reader import ReadStretches, array_reader, one_by_one
from livelatent.atlas.layout import index_type
from livelatent.atlas.seen import Seen
from livelatent.atlas.sources.faults import faults_named
from livelatent.atlas.sources.fingerprints import METADATA
from livelatent.atlas.sources.matrices import (
    POINTERS,
    CsrMatrix,
    DenseMatrix,
    array_in,
    plain_indices,
    plain_values,
    pointers_between,
)
from livelatent.atlas.sources.source import Source
from livelatent.atlas.stretches import Stretches
from livelatent.errors import SourceError, StoreError

PIECE = 2**20
"""Values read at once where they go through memory of their own."""
BLOCK = 2**22
"""Values of a dense matrix read at once."""


class Part(Protocol):
    """The counts of one source."""

    @property
    def source(self) -> Source:
        """What it is of."""
        ...

    @property
    def indptr(self) -> Int64[ndarray, " pointer"]:
        """Where each row's values begin."""
        ...

    @property
    def data_type(self) -> "np.dtype[Any]":
        """Of the values that are read."""
        ...

    @property
    def index_type(self) -> "np.dtype[Any]":
        """Of the gene indices that are read."""
        ...

    def read_stretches(self, stretches: Stretches, data: ndarray, indices: ndarray) -> tuple[Seen, Seen]:
        """Fill parts of two arrays of its types with stretches of values and gene indices, and say what was seen."""
        ...


def part_of(source: Source, lengths: Callable[[], Int64[ndarray, " cell"]]) -> Part:
    """The counts of a source.

    Parameters
    ----------
    lengths
        Gives how many values each row has that are not 0; asked where the file does not say.

    Raises
    ------
    SourceError
        If cells can't be read by themselves.
    """
    if isinstance(source.counts, CsrMatrix):
        return CsrPart(source, source.counts)
    if isinstance(source.counts, DenseMatrix):
        return DensePart(source, source.counts, lengths)
    raise SourceError(
        f"{source.path}: `{source.counts.where}` is stored by gene (CSC), so that every cell is all over the file. "
        "Ingest it, or write it again by cell (`adata.X = adata.X.tocsr()`)."
    )


class CsrPart:
    """A sparse matrix stored by cell, in HDF5 or Zarr."""

    def __init__(self, source: Source, matrix: CsrMatrix) -> None:
        self.source = source
        self._matrix = matrix

    @functools.cached_property
    def indptr(self) -> Int64[ndarray, " pointer"]:
        """Where each row's values begin; checked."""
        matrix, out = self._matrix, np.zeros(self._matrix.n_rows + 1, np.int64)
        with matrix.container.opened() as root:
            for start in range(0, matrix.n_rows, POINTERS):
                stop = min(start + POINTERS, matrix.n_rows)
                path, where, group = matrix.container.path, matrix.where, root[matrix.where]
                pointers = pointers_between(path, where, group, start, stop, matrix.n_elements, matrix.n_columns)
                out[start : stop + 1] = pointers
        return out

    @property
    def data_type(self) -> "np.dtype[Any]":
        """Of the values that are read."""
        return plain_values(np.empty(0, self._stored_types[0])).dtype

    @property
    def index_type(self) -> "np.dtype[Any]":
        """Of the gene indices that are read."""
        return plain_indices(np.empty(0, self._stored_types[1])).dtype

    def read_stretches(self, stretches: Stretches, data: ndarray, indices: ndarray) -> tuple[Seen, Seen]:
        """Fill parts of two arrays with stretches of the values and of their gene indices."""
        if self._readers is not None:
            with faults_named(self._matrix.container.path):
                read_data, read_indices = self._readers
                return read_data(stretches, data), read_indices(stretches, indices)
        # Opened for this alone: no handle outlives a fork, or keeps the file from whoever wants to write it. 0.12 ms.
        with self._matrix.container.opened() as root:
            group = root[self._matrix.where]
            return (
                array_of(group, "data", plain_values)(stretches, data),
                array_of(group, "indices", plain_indices)(stretches, indices),
            )

    @functools.cached_property
    def _stored_types(self) -> tuple["np.dtype[Any]", "np.dtype[Any]"]:
        with self._matrix.container.opened() as root:
            group = root[self._matrix.where]
            return group["data"].dtype, group["indices"].dtype

    @functools.cached_property
    def _readers(self) -> tuple[ReadStretches, ReadStretches] | None:
        """Of Zarr's arrays, which hold no file open; None for HDF5."""
        with self._matrix.container.opened() as root:
            group = root[self._matrix.where]
            if isinstance(group, h5py.Group):
                return None
            folder = self._matrix.container.path / self._matrix.where
            return (
                array_of(group, "data", plain_values, folder / "data"),
                array_of(group, "indices", plain_indices, folder / "indices"),
            )


class DensePart:
    """A matrix with every value stored, read as if its zeros were not."""

    def __init__(self, source: Source, matrix: DenseMatrix, lengths: Callable[[], Int64[ndarray, " cell"]]) -> None:
        self.source = source
        self._matrix = matrix
        self._lengths = lengths

    @functools.cached_property
    def indptr(self) -> Int64[ndarray, " pointer"]:
        """Where each row's values begin: one pass over the matrix, since nothing in it says so."""
        return np.concatenate([[0], np.cumsum(self._lengths())]).astype(np.int64)

    @functools.cached_property
    def data_type(self) -> "np.dtype[Any]":
        """Of the values that are read."""
        with self._matrix.container.opened() as root:
            return plain_values(np.empty(0, root[self._matrix.where].dtype)).dtype

    @property
    def index_type(self) -> "np.dtype[Any]":
        """Of the gene indices: none are stored, so the smallest that does."""
        return index_type(self._matrix.n_columns)

    def read_stretches(self, stretches: Stretches, data: ndarray, indices: ndarray) -> tuple[Seen, Seen]:
        """Fill parts of two arrays with stretches of the values and of their gene indices."""
        seen = Seen.nothing(len(stretches.first)), Seen.nothing(len(stretches.first))
        for number, (first, last, at) in enumerate(stretches.each()):
            inside = slice(at, at + last - first)
            self._read_into(first, last, data[inside], indices[inside])
            for of, values in zip(seen, (data, indices), strict=True):
                of.note(number, values[inside])
        return seen

    def _read_into(self, first: int, last: int, data: ndarray, indices: ndarray) -> None:
        row, done = int(np.searchsorted(self.indptr, first, side="right")) - 1, 0
        step = max(1, BLOCK // self._matrix.n_columns)
        gene = np.arange(self._matrix.n_columns, dtype=self.index_type)
        with self._matrix.container.opened() as root:
            array = array_in(root, self._matrix.where)
            while done < last - first:
                stop = min(row + step, self._matrix.n_rows)
                block = plain_values(np.asarray(array[row:stop]))
                is_stored = block != 0
                if (is_stored.sum(axis=1) != np.diff(self.indptr[row : stop + 1])).any():
                    raise changed(self.source.path)
                skipped = max(first - int(self.indptr[row]), 0)
                values = block[is_stored][skipped : skipped + last - first - done]
                genes = np.broadcast_to(gene, block.shape)[is_stored][skipped : skipped + last - first - done]
                data[done : done + values.size], indices[done : done + values.size] = values, genes
                row, done = stop, done + values.size


def array_of(group: Any, name: str, plain: Callable[[ndarray], ndarray], folder: Path | None = None) -> ReadStretches:
    """How to fill an array from a list of numbers of HDF5 or Zarr, whatever type they are stored in.

    Parameters
    ----------
    plain
        Changes the type to one of the machine's own.
    folder
        The list's own, where it is Zarr's.
    """
    item = array_in(group, name)
    is_plain = item.dtype == plain(np.empty(0, item.dtype)).dtype
    if is_plain and isinstance(item, zarr.Array):
        return array_reader(item, folder)

    def direct(first: int, last: int, out: ndarray) -> None:
        if last > first:
            item.read_direct(out, np.s_[first:last])

    def converted(first: int, last: int, out: ndarray) -> None:
        for start in range(first, last, PIECE):
            stop = min(start + PIECE, last)
            out[start - first : stop - first] = plain(np.asarray(item[start:stop]))

    return one_by_one(direct if is_plain else converted)


class Untouched:
    """The files of a source, which must stay what they were when they were opened.

    A file of HDF5; of a Zarr store the metadata of its counts: whoever writes it again changes that, whoever only
    writes over chunks is not noticed.
    """

    def __init__(self, path: Path, where: str = "") -> None:
        self.path = path
        folders = [path, *(path / where / part for part in ("", "data", "indices", "indptr"))]
        found = [folder / name for folder in folders for name in sorted(METADATA)] if path.is_dir() else [path]
        self._files = [file for file in dict.fromkeys(found) if file.is_file()]
        self._then = self._now()

    def check(self) -> None:
        """Raise where one of them is gone, or another."""
        if self._now() != self._then:
            raise changed(self.path)

    def _now(self) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                return []
            found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        return found


def changed(path: Path) -> StoreError:
    """What to raise where a file is another than the one that was opened."""
    return StoreError(
        f"{path} was changed while it was open, so its cells may be others. Open it again, and start anew what was "
        "under way."
    )
