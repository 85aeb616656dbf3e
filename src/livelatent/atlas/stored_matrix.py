"""A matrix of a store as it lies on disk, read by rows; and whether the store is still the one that was opened."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Int
from numpy import ndarray
from scipy import sparse

from livelatent.arrays import as_rows
from livelatent.atlas.array_reader import ReadStretches, array_reader
from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.atlas.opening import Place, array_in, damage_named, group_in, open_root, zarr_of
from livelatent.atlas.seen import Seen
from livelatent.atlas.stretches import Stretches
from livelatent.errors import StoreError

GAP_CELLS = 64
"""Cells read over rather than around, about a chunk: a second request would decode the same chunk again."""


class Standing:
    """What stands under a store's name: the store that was opened, the same one grown, or another.

    A store takes its place by an exchange of folders, so a folder that is the one seen before needs no further look.
    """

    def __init__(self, place: Place, uuid: str) -> None:
        self.place, self.uuid = place, uuid
        self._opened = self._seen = self.now()

    def now(self) -> tuple[int, int] | None:
        """What a folder keeps when it is renamed; None for one that is gone, or remote."""
        if not isinstance(self.place, Path):
            return None
        try:
            status = self.place.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def fits(self, n_rows: int, n_cells: int) -> bool:
        """Whether that many rows are those that were opened, or more since the store has grown."""
        return n_rows == n_cells or (n_rows > n_cells and not self.is_as_opened())

    def is_as_opened(self) -> bool:
        """Whether the very folder stands there that was opened."""
        return self.now() == self._opened

    def read[T](self, read: Callable[[], T], forget: Callable[[], None] = lambda: None) -> T:
        """What `read` gives, of the store that was opened; read again where it was exchanged meanwhile.

        Parameters
        ----------
        forget
            Called before it is read again: what is held of the folder as it was.

        Raises
        ------
        StoreError
            If another store stands in its place: its cells would be wrong ones.
        """
        while True:
            before = self.now()
            try:
                result = read()
            except Exception:
                if self.now() == before == self._seen:
                    raise
            else:
                if self.now() == before == self._seen:
                    return result
            self._seen = self.now()
            self.check()
            forget()

    def check(self) -> None:
        """Raise where another store stands in this one's place."""
        uuid = str(open_root(self.place)[1]["uuid"])
        if uuid != self.uuid:
            raise StoreError(
                f"{self.place} was replaced by another store while it was open (uuid {uuid}, it was {self.uuid}). "
                "Open it again, and start anew what was under way."
            )


@dataclass(frozen=True)
class CsrArrays:
    """The matrix as it lies on disk; `indices` and `data` decode on the zarrs pipeline when sliced."""

    indptr: Int[ndarray, " pointer"]
    indices: "zarr.Array[Any]"
    data: "zarr.Array[Any]"


class StoredMatrix:
    """`X` or a layer: cells x genes in CSR, in number types as small as they go."""

    ascends = True
    """Whether the genes of each row are known to ascend: ingest has put them in order."""

    def __init__(self, name: str, n_cells: int, n_genes: int, standing: Standing) -> None:
        self.name, self.n_cells, self.n_genes = name, n_cells, n_genes
        self._standing = standing
        self._opened_in = standing.now()

    def csr(self) -> CsrArrays:
        """The matrix's arrays, opened once; decoding runs on the zarrs pipeline, in threads."""
        return self._csr

    @functools.cached_property
    def _csr(self) -> CsrArrays:
        place = self._standing.place
        self._opened_in = self._standing.now()
        if not self._standing.is_as_opened():
            self._standing.check()
        with damage_named(place):
            group = group_in(zarr.open_group(zarr_of(place), mode="r", zarr_format=3), self.name)
            parts = (array_in(group, part) for part in ("data", "indices", "indptr"))
            data, indices, pointers = (on_zarrs(array, place) for array in parts)
            indptr = np.asarray(pointers[:]).astype(np.int64)
        if (
            not self._standing.fits(indptr.size - 1, self.n_cells)
            or indptr[0] != 0
            or indptr[-1] != data.shape[0]
            or indices.shape != data.shape
            or bool((np.diff(indptr) < 0).any())
        ):
            raise StoreError(
                f"{place}: the row pointers {self.name}/indptr are damaged. Copy the store again, or ingest its "
                "sources again."
            )
        return CsrArrays(indptr[: self.n_cells + 1], indices, data)

    def values_between(self, first: int, last: int, what: str = "") -> tuple[ndarray, ndarray]:
        """Stored values `first` to `last` and their gene indices, of the store that was opened; none outside the genes.

        Parameters
        ----------
        what
            Which rows these are, for a message.

        Raises
        ------
        StoreError
            If they can't be read, name a gene that is none, or another store stands in its place: its cells would be
            wrong ones.
        """
        first, last, _ = slice(first, last).indices(int(self.indptr[-1]))
        data, indices = (np.empty(max(last - first, 0), kind) for kind in (self.data_type, self.index_type))
        self.read_into(first, max(first, last), data, indices, what)
        return data, indices

    def read_into(self, first: int, last: int, data: ndarray, indices: ndarray, what: str = "") -> None:
        """Fill two arrays of the stored types with what `values_between` gives; whoever reads much reuses them."""
        self.read_stretches(Stretches.one(first, last), data, indices, what)

    def read_stretches(self, stretches: Stretches, data: ndarray, indices: ndarray, what: str = "") -> None:
        """Fill parts of two arrays of the stored types with stretches of the values and of their gene indices."""

        def fill() -> Seen:
            # Somebody else may have seen that the store has grown: what is held of it here is of the folder before.
            if self._opened_in != self._standing.now():
                self._forget()
            read_data, read_indices = self._readers
            if data.dtype == self.data_type:
                read_data(stretches, data)
            else:
                # It has grown by cells with larger counts; these ones' are what they were.
                for first, last, at in stretches.each():
                    wider = np.empty(last - first, self.data_type)
                    read_data(Stretches.one(first, last), wider)
                    data[at : at + wider.size] = wider
            return read_indices(stretches, indices)

        def where() -> str:
            first, last = int(stretches.first.min(initial=0)), int(stretches.last.max(initial=0))
            return f"{what} {self.shards_of(first, last)}".strip()

        with damage_named(self._standing.place, where):
            seen = self._standing.read(fill, self._forget)
        if not seen.are_below(self.n_genes).all():
            raise StoreError(
                f"{self._standing.place}: {where()} holds a gene index outside 0..{self.n_genes - 1}; the store is "
                "damaged. Copy it again, or ingest its sources again."
            )

    @property
    def indptr(self) -> Int[ndarray, " pointer"]:
        """Where each row's values begin."""
        return self.csr().indptr

    @property
    def data_type(self) -> "np.dtype[Any]":
        """Of the stored values."""
        return self.csr().data.dtype

    @property
    def index_type(self) -> "np.dtype[Any]":
        """Of the stored gene indices."""
        return self.csr().indices.dtype

    @functools.cached_property
    def _readers(self) -> tuple[ReadStretches, ReadStretches]:
        """Ways to read a stretch of the values, and of the indices."""
        place, arrays = self._standing.place, self.csr()

        def reader(part: str, array: "zarr.Array[Any]") -> ReadStretches:
            return array_reader(array, place / self.name / part if isinstance(place, Path) else None)

        return reader("data", arrays.data), reader("indices", arrays.indices)

    def _forget(self) -> None:
        self.__dict__.pop("_csr", None)
        self.__dict__.pop("_readers", None)

    def read_rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows `start` to `stop` as they are stored."""
        start, stop, _ = slice(start, stop).indices(self.n_cells)
        stop = max(start, stop)
        indptr = self.csr().indptr
        first, last = int(indptr[start]), int(indptr[stop])
        pointers = indptr[start : stop + 1] - first
        data, indices = self.values_between(first, last, f"rows {start} to {stop - 1} of")
        return sparse.csr_matrix((data, indices.astype(np.int32), pointers), shape=(stop - start, self.n_genes))

    def read_cells(self, rows: object) -> sparse.csr_matrix:
        """Any rows, sorted, read in runs of neighbours."""
        wanted = as_rows(rows, self.n_cells)
        if not wanted.size:
            return self.read_rows(0, 0)
        parts = []
        for run in np.split(wanted, np.flatnonzero(np.diff(wanted) > GAP_CELLS) + 1):
            block = self.read_rows(int(run[0]), int(run[-1]) + 1)
            parts.append(block if block.shape[0] == run.size else block[run - run[0]])
        return parts[0] if len(parts) == 1 else sparse.vstack(parts, format="csr")

    def in_memory(self, rows: object) -> sparse.csr_matrix:
        """The cells in float32, or float64 where float32 would change a value."""
        counts = self.read_cells(rows)
        narrow = counts.data.astype(np.float32)
        exact = np.array_equal(narrow.astype(np.float64), counts.data.astype(np.float64), equal_nan=True)
        return counts.astype(np.float32 if exact else np.float64)

    def shards_of(self, first: int, last: int) -> str:
        """The files that hold stored values `first` to `last`, for a message."""
        arrays = self.csr()
        return " or ".join(shards_between(self.name, arrays.data, arrays.indices, first, last))


def shards_between(name: str, data: "zarr.Array[Any]", indices: "zarr.Array[Any]", first: int, last: int) -> list[str]:
    """The files of a matrix that hold stored values `first` to `last`."""
    names = []
    for part, array in (("data", data), ("indices", indices)):
        size = int((array.shards or array.chunks)[0])
        shards = range(first // size, max(first, last - 1) // size + 1)
        names += [f"{name}/{part}/c/{shard}" for shard in shards]
    return names
