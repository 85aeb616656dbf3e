"""What a stream holds in memory, and the largest buffer that a limit allows."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from livelatent.arrays import Rows
from livelatent.atlas.building.memory import parse_memory
from livelatent.errors import MemoryLimitError
from livelatent.stream.balance import Balance
from livelatent.stream.minibatch import sparse_parts
from livelatent.stream.plan import StreamConfig
from livelatent.stream.read import DENSE_ENOUGH, MERGED_BLOCKS, n_readers
from livelatent.stream.slots import room_for
from livelatent.stream.together import Together

PORTIONS_AHEAD = 2
"""Made before they are asked for; besides, one is being made and one is the caller's."""
PORTION_BYTES = 16_000_000
"""About as much is made in one go, and goes from thread to thread: several small minibatches, or a large one. (2,000
genes, minibatches of 1.7 MB, us of CPU a cell: one by one 2.5, portions of 4 MB 2.25, of 8 2.19, of 16 1.99.)"""
PORTION_MINIBATCHES = 16
PORTION_SHARE = 32
"""Of a limit: a portion is no larger than this part of it, or the buffer would be the smaller for it."""
MOST_CELLS = 65_536
"""Cells of a buffer beyond which more mix no better."""
AT_HAND = 48_000_000
"""Threads, Dask, Zarr's metadata, what the allocator keeps: above imports and warm kernels, on every size alike."""
PER_CELL = 64
"""Bytes per cell of an atlas: its pointer, label, batch, total and row, and what reading those holds for a moment."""
CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class Needs:
    """What decides the memory of a stream over some rows."""

    block_bytes: Int[ndarray, " block"]
    """Of each block's values and indices in a slot."""
    block_cells: Int[ndarray, " block"]
    """Delivered by each block."""
    n_of_length: Int[ndarray, " length"]
    """How many of the rows have so many values: by length."""
    value_bytes: int
    """Of one value and its index as stored."""
    largest_stretch: int
    """Bytes that a thread reads at a time."""
    n_readers: int
    n_cells: int
    """Of the atlases, whatever the rows."""
    n_labels: int
    n_obs: int
    """Columns and dimensions that come along, four bytes each per cell."""
    n_genes: int
    is_sparse: bool
    """What `x` of a minibatch is like."""
    most_in_portion: int
    """Bytes of `x` that are made in one go, about."""
    n_cut: int
    """Blocks of which a group may hold a part: where a rank's share begins and ends."""

    def group(self, buffer_cells: int) -> int:
        """Bytes of the largest group that such a buffer can hold, whatever the epoch."""
        # The blocks with most bytes per cell, and one more: no choice of blocks within the buffer holds more.
        held, taken = self._heaviest_first
        if not len(taken):
            return 0
        n = min(int(np.searchsorted(held, buffer_cells, side="right")), len(taken) - 1)
        return min(int(taken[n]) + self.n_cut * int(self.block_bytes.max()), int(taken[-1]))

    @functools.cached_property
    def _heaviest_first(self) -> tuple[Int[ndarray, " block"], Int[ndarray, " block"]]:
        """Cells and bytes of the so many blocks that have most bytes per cell."""
        order = np.argsort(-self.block_bytes / np.maximum(self.block_cells, 1), kind="stable")
        return np.cumsum(self.block_cells[order]), np.cumsum(self.block_bytes[order])

    def groups_at_once(self, config: StreamConfig) -> int:
        """Groups held at a time at most: those read ahead, and those that the minibatches being made are cut from."""
        smallest = max(config.buffer_cells - int(self.block_cells.max(initial=0)) + 1, 1)
        n_cells = (portions_ahead(config) + 1) * self.portion(config) * config.minibatch_cells
        return config.groups_ahead + 2 + (n_cells - 2) // smallest

    def cells(self, n_cells: int) -> int:
        """Values of the `n_cells` cells that have most."""
        lengths = np.arange(len(self.n_of_length))[::-1]
        taken = np.minimum(np.cumsum(self.n_of_length[::-1]), n_cells)
        return int((np.diff(taken, prepend=0) * lengths).sum())

    def portion(self, config: StreamConfig) -> int:
        """How many minibatches are made in one go; one where none is made ahead."""
        if not config.groups_ahead:
            return 1
        n_values, n_cells = int(self.n_of_length @ np.arange(len(self.n_of_length))), int(self.n_of_length.sum())
        per_cell = 8 * n_values / max(n_cells, 1) if self.is_sparse else 4 * self.n_genes
        n_fitting = int(self.most_in_portion / max(per_cell * config.minibatch_cells, 1))
        return max(1, min(n_fitting, PORTION_MINIBATCHES, config.buffer_cells // config.minibatch_cells))

    def portion_bytes(self, config: StreamConfig) -> int:
        """Of the largest portion's `x`."""
        portion, n_rows = self.portion(config), int(self.n_of_length.sum())
        # A cell comes once in a minibatch; of a balanced stream, once in each of a portion's.
        times = portion if config.balance else 1
        n_cells = min(portion // times * config.minibatch_cells, n_rows)
        if self.is_sparse:
            return room_for(*sparse_parts(times * self.cells(n_cells), times * n_cells))
        return room_for((np.dtype(np.float32), times * n_cells * self.n_genes))

    def carried(self, config: StreamConfig) -> int:
        """Bytes of the cells that a balanced stream carries from group to group."""
        if config.balance is None:
            return 0
        return self.value_bytes * self.cells(config.balance.ring_cells * self.n_labels) + 128 * MERGED_BLOCKS

    def carried_at_once(self, config: StreamConfig) -> int:
        """How many groups' carried cells are held at a time at most; for groups ahead they are not picked yet."""
        return self.groups_at_once(config) - config.groups_ahead

    def total(self, config: StreamConfig) -> int:
        """Bytes that the whole stream holds at most."""
        return (
            AT_HAND
            + self.n_cells * (PER_CELL + 4 * self.n_obs)
            + self.groups_at_once(config) * self.group(config.buffer_cells)
            + portions_at_once(config) * self.portion_bytes(config)
            + 2 * self.n_readers * self.largest_stretch
            # Where a run is resumed the first are read again, some of their neighbours with them.
            + math.ceil((self.carried_at_once(config) - 1 + 1 / DENSE_ENOUGH) * self.carried(config))
        )


def portions_ahead(config: StreamConfig) -> int:
    """How many are made before they are asked for."""
    return PORTIONS_AHEAD if config.groups_ahead else 0


def portions_at_once(config: StreamConfig) -> int:
    """How many are held: those ahead, the one being made, and the one that the caller has."""
    return portions_ahead(config) + 2


def needs_of(
    together: Together,
    rows: Rows,
    block_cells: int,
    *,
    n_genes: int = 0,
    is_sparse: bool = False,
    n_labels: int = 0,
    n_obs: int = 0,
    world: int = 1,
    limit: int | str | None = None,
) -> Needs:
    """Look at the row pointers of the cells to deliver, in chunks."""
    most_in_portion = PORTION_BYTES if limit is None else min(PORTION_BYTES, parse_memory(limit) // PORTION_SHARE)
    block_bytes, cells_of_block, n_of_length, widest, largest = [], [], np.zeros(1, np.int64), 0, 0
    bounds = np.append(np.searchsorted(rows, together.first), len(rows)).tolist()
    for number, atlas in enumerate(together.atlases):
        matrix = atlas.matrix()
        per_value = matrix.data_type.itemsize + matrix.index_type.itemsize
        widest = max(widest, per_value)
        own = rows[bounds[number] : bounds[number + 1]]
        for chunk in _whole_blocks(own, block_cells):
            local = chunk - together.first[number]
            lengths = matrix.indptr[local + 1] - matrix.indptr[local]
            counted = np.bincount(lengths)
            n_of_length = _added(n_of_length, counted)
            begins = np.flatnonzero(np.diff(chunk // block_cells, prepend=-1))
            ends = np.append(begins[1:], len(chunk)) - 1
            wanted = np.add.reduceat(lengths, begins)
            read = matrix.indptr[local[ends] + 1] - matrix.indptr[local[begins]]
            block_bytes.append(np.minimum(read, np.ceil(wanted / DENSE_ENOUGH).astype(np.int64)) * per_value + 128)
            cells_of_block.append(ends - begins + 1)
            largest = max(largest, int(read.max()) * per_value * MERGED_BLOCKS)
    none = np.empty(0, np.int64)
    return Needs(
        block_bytes=np.concatenate(block_bytes or [none]),
        block_cells=np.concatenate(cells_of_block or [none]),
        n_of_length=n_of_length,
        value_bytes=widest,
        largest_stretch=largest,
        n_readers=n_readers(together),
        n_cells=sum(atlas.n_cells for atlas in together.atlases),
        n_labels=n_labels,
        n_obs=n_obs,
        n_genes=n_genes,
        is_sparse=is_sparse,
        most_in_portion=most_in_portion,
        n_cut=2 if world > 1 else 0,
    )


def within(limit: int | str, config: StreamConfig, needs: Needs) -> StreamConfig:
    """The configuration with the largest buffer, up to `MOST_CELLS`, that keeps a stream within a limit.

    What is left for smaller limits: smaller rings of a balance (its cells repeat more), fewer groups ahead, then a
    buffer of a single minibatch.

    Raises
    ------
    MemoryLimitError
        If not even that fits; it says what would.
    """
    allowed = parse_memory(limit)
    block = config.block_cells
    least = -(-config.minibatch_cells // block) * block
    n_rows = int(needs.block_cells.sum())
    most = max(least, min(MOST_CELLS, -(-n_rows // block) * block))

    def with_(buffer_cells: int, groups_ahead: int, balance: Balance | None) -> StreamConfig:
        return dataclasses.replace(config, buffer_cells=buffer_cells, groups_ahead=groups_ahead, balance=balance)

    # From above, one by one: the smallest buffers can take more than larger ones, as more of them are held at once.
    buffers = range(most, least - 1, -block)
    balances = _with_smaller_rings(config)
    for groups_ahead in sorted({config.groups_ahead, min(config.groups_ahead, 1), 0}, reverse=True):
        for balance in balances:
            for buffer_cells in buffers:
                tried = with_(buffer_cells, groups_ahead, balance)
                if needs.total(tried) <= allowed:
                    return tried
    least_bytes = min(needs.total(with_(buffer_cells, 0, balances[-1])) for buffer_cells in buffers)
    raise MemoryLimitError(
        f"memory={limit!r} is too little for minibatches of {config.minibatch_cells} cells x {needs.n_genes} genes in "
        f"blocks of {block}: it takes at least {-(-least_bytes // 10**6)} MB. Give that much, or choose fewer "
        "minibatch_cells or block_cells" + (", fewer genes, or sparse=True." if not needs.is_sparse else ".")
    )


def _with_smaller_rings(config: StreamConfig) -> list[Balance | None]:
    """The balance asked for, and with rings halved down to what a minibatch takes of a label."""
    if config.balance is None:
        return [None]
    least, ring = config.minibatch_cells // config.balance.types, config.balance.ring_cells
    found: list[Balance | None] = [config.balance]
    while ring > least:
        ring = max(ring // 2, least)
        found.append(dataclasses.replace(config.balance, ring_cells=ring))
    return found


def _whole_blocks(rows: Rows, block_cells: int) -> Iterator[Rows]:
    """Rows in chunks that cut no block in two."""
    done = 0
    while done < len(rows):
        stop = min(done + CHUNK_ROWS, len(rows))
        if stop < len(rows):
            begin = int(np.searchsorted(rows, rows[stop] // block_cells * block_cells))
            # A block longer than a chunk is taken whole.
            stop = begin if begin > done else int(np.searchsorted(rows, (rows[stop] // block_cells + 1) * block_cells))
        yield rows[done:stop]
        done = stop


def _added(one: ndarray, other: ndarray) -> ndarray:
    out = np.zeros(max(len(one), len(other)), np.int64)
    out[: len(one)] += one
    out[: len(other)] += other
    return out
