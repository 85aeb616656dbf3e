"""A matrix of a store, written row after row in its final order, in whole shards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy import ndarray

from livelatent.atlas.building import kernels
from livelatent.atlas.elements import write_element
from livelatent.atlas.layout import Compression, index_type, matrix_codecs
from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.atlas.opening import array_in


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How the two long arrays of a matrix are cut up, in stored values."""

    chunk: int
    shard: int
    """A multiple of the chunk's."""
    compression: Compression = "local"


class MatrixWriter:
    """Appends rows to a CSR group; only the last shard may be part full, and no shard is written twice.

    Parameters
    ----------
    parent, name
        Where the matrix lies: the store's root and `X`, or `layers` and a layer's name.
    value_type
        Of the stored values.
    before
        The lengths of rows that are there already; their values are those in shards and in `held`.
    done
        How many values lie in whole shards for good; what is behind them (of a write cut off) is forgotten.
    held
        Values and indices behind `done` that are no whole shard yet: the end of a store that grows.
    after_shard
        Called after each shard with its number, and the number of values that lie on disk for good.
    """

    def __init__(
        self,
        parent: zarr.Group,
        name: str,
        *,
        n_genes: int,
        value_type: "np.dtype[Any]",
        cut: Cut,
        before: ndarray | None = None,
        done: int = 0,
        held: tuple[ndarray, ndarray] | None = None,
        after_shard: Callable[[int, int], None] | None = None,
    ) -> None:
        self.n_genes = n_genes
        self.shard = cut.shard
        self.done = done
        self.after_shard = after_shard or (lambda number, done: None)
        self._lengths = [] if before is None else [before.astype(np.int32, copy=False)]
        kinds = {"data": value_type, "indices": index_type(n_genes)}
        self._group = parent.require_group(name)
        self._arrays = {
            part: on_zarrs(
                array_in(self._group, part) if part in self._group else self._made(part, kind, cut), in_order=True
            )
            for part, kind in kinds.items()
        }
        for array in self._arrays.values():
            if array.shape != (done,):
                array.resize((done,))
        # One buffer for as long as the writer lives: fresh ones of 64 MB each shard cost the system 3 to 12 us a cell
        # of zeroing under memory pressure.
        self._held = {part: np.empty(cut.shard, kind) for part, kind in kinds.items()}
        self._n_held = 0
        for part, values in zip(self._held, held or (), strict=False):
            self._held[part][: values.size] = values
            self._n_held = values.size

    def _made(self, part: str, kind: "np.dtype[Any]", cut: Cut) -> "zarr.Array[Any]":
        return self._group.create_array(
            part,
            shape=(0,),
            chunks=(cut.chunk,),
            shards=(cut.shard,),
            dtype=kind,
            compressors=matrix_codecs(kind, cut.compression),
            # Every shard exists, and a missing file is a damaged store: zarrs writes no shard that holds the fill
            # value only. Data hold no zeros, indices not the largest number (65,536 genes apart).
            fill_value=0 if part == "data" else int(np.iinfo(kind).max),
        )

    def append(
        self,
        values: ndarray,
        indices: ndarray,
        lengths: ndarray,
        starts: ndarray | None = None,
        *,
        n_written: int = 0,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        values, indices
            Stored values of several rows and the genes they belong to, rising within each row.
        lengths
            How many values each row has.
        starts
            Where each row starts in `values`; None where they lie behind one another.
        n_written
            How many of these rows' values, from the first, lie in shards already (a resumed ingest).
        """
        lengths = lengths.astype(np.int32, copy=False)
        ends = np.cumsum(lengths, dtype=np.int64)
        if starts is None:
            starts = ends - lengths
        self._lengths.append(lengths)
        row = int(np.searchsorted(ends, n_written, side="right"))
        part_of_row = n_written - int(ends[row - 1] if row else 0)
        while row < lengths.size:
            row, part_of_row, self._n_held = kernels.gather(
                values,
                indices,
                starts,
                lengths,
                row,
                part_of_row,
                self._held["data"],
                self._held["indices"],
                self._n_held,
            )
            if self._n_held == self.shard:
                self._flush()

    def _flush(self) -> None:
        """Write what is held as the next shard."""
        end = self.done + self._n_held
        for part, array in self._arrays.items():
            array.resize((end,))
            array[self.done : end] = self._held[part][: self._n_held]
        number, self.done, self._n_held = self.done // self.shard, end, 0
        self.after_shard(number, end)

    def finish(self) -> None:
        """Write the last shard, the row pointers and the matrix's marks."""
        if self._n_held:
            self._flush()
        self._held.clear()
        lengths = np.concatenate(self._lengths) if self._lengths else np.empty(0, np.int32)
        indptr = np.zeros(lengths.size + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        write_element(self._group, "indptr", indptr)
        self._group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [lengths.size, self.n_genes]}
        )
