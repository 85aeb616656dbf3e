"""Which cells an epoch delivers, and in which order: pure arithmetic, no disk."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from livelatent.arrays import Int, Rows, ndarray
from livelatent.stream.balance import Balance

SMALL_BLOCK_CELLS = 32
"""Of a file that nobody has shuffled: with 16,384 cells in the buffer, donors one after another come out with .99 of
the entropy of a random sample; with blocks of 512, .89."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How an epoch is cut up."""

    minibatch_cells: int = 1024
    block_cells: int = 512
    """Neighbouring store rows per read: larger is faster, smaller mixes better."""
    buffer_cells: int = 16384
    """Cells of one group: they are read together and shuffled together."""
    groups_ahead: int = 1
    """Groups read while the one before is trained on; the order of cells does not depend on it."""
    seed: int = 0
    shuffle: bool = True
    balance: Balance | None = None
    """None delivers each cell once an epoch; else minibatches are balanced over labels, as it says."""

    def __post_init__(self) -> None:
        for name in ("minibatch_cells", "block_cells", "buffer_cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if self.buffer_cells < self.block_cells:
            raise ValueError(
                f"a buffer holds whole blocks, so buffer_cells ({self.buffer_cells}) must be at least "
                f"block_cells ({self.block_cells})."
            )
        if self.groups_ahead < 0 or not 0 <= self.seed < 2**64:
            raise ValueError(
                "groups_ahead must not be negative and seed must lie in 0..2**64-1; "
                f"got groups_ahead={self.groups_ahead}, seed={self.seed}."
            )
        if self.balance is not None:
            self._check_balance(self.balance)

    def _check_balance(self, balance: Balance) -> None:
        if not self.shuffle:
            raise ValueError("balanced minibatches are drawn at random, so shuffle must be True; got False.")
        if self.minibatch_cells < balance.types:
            raise ValueError(
                f"a balanced minibatch holds cells of {balance.types} types, so minibatch_cells must be at least "
                f"that; got {self.minibatch_cells}. Ask for more cells, or for fewer types."
            )
        wanted = self.minibatch_cells // balance.types
        if balance.ring_cells < wanted:
            raise ValueError(
                f"a balanced minibatch takes {wanted} cells of a type ({self.minibatch_cells} of {balance.types} "
                f"types), so ring_cells must be at least that; got {balance.ring_cells}."
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Without a balance it has no word of one, so that earlier versions read it."""
        fields = dataclasses.asdict(self)
        if self.balance is None:
            del fields["balance"]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """What `to_dict` gave, of this version or an earlier one."""
        fields = {**fields}
        balance = fields.pop("balance", None)
        return cls(**fields, balance=None if balance is None else Balance(**balance))


@dataclass(frozen=True)
class Group:
    """The blocks of one buffer, as stretches of the epoch's `rows`."""

    number: int
    """Of this rank's epoch, from 0."""
    spans: tuple[tuple[int, int], ...]
    """One (start, stop) into `rows` per block, ascending."""
    first_cell: int
    """How many cells this rank delivers before the group."""
    key: tuple[int, int] | None
    """Of the group's own Philox stream; None leaves the rows in store order."""

    @property
    def n_cells(self) -> int:
        """Cells that the group delivers."""
        return sum(stop - start for start, stop in self.spans)

    def rows(self, rows: Rows) -> Rows:
        """Store rows of the group, ascending: the order they are read in."""
        return np.concatenate([rows[start:stop] for start, stop in self.spans])

    def order(self) -> Int[ndarray, " cell"]:
        """The permutation of `rows(...)` in which its cells are delivered."""
        if self.key is None:
            return np.arange(self.n_cells)
        return _philox(*self.key).permutation(self.n_cells)


def block_bounds(rows: Rows, block_cells: int) -> Int[ndarray, " bound"]:
    """Where the rows of each block begin, in places of `rows`; behind the last, their number."""
    return np.append(np.flatnonzero(np.diff(rows // block_cells, prepend=-1)), len(rows))


def plan_epoch(
    rows: Rows,
    config: StreamConfig,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    bounds: Int[ndarray, " bound"] | None = None,
) -> tuple[Group, ...]:
    """Cut one epoch over `rows` into ordered groups of blocks, the same on every machine.

    A block is `block_cells` neighbouring rows of the store and delivers those of them that are in `rows`.
    Blocks are shuffled by (seed, epoch), dealt out to the ranks in stretches of equal size (the block where
    one rank ends and the next begins is read by both, each delivering its own cells), and packed into groups
    that never hold more than `buffer_cells`.

    Parameters
    ----------
    rows
        Store rows to deliver: sorted, unique, any subset.
    rank, world
        This process and how many there are.
    bounds
        The rows' `block_bounds`, where they are known: of a million cells they take 11 ms, the rest of a plan 3.
    """
    n_rows = len(rows)
    if not 0 <= rank < world:
        raise ValueError(f"rank must lie in 0..{world - 1}; got {rank}.")
    if n_rows and n_rows < world:
        raise ValueError(f"{n_rows} cells can't be shared by {world} processes: each needs at least one.")
    bounds = block_bounds(rows, config.block_cells) if bounds is None else bounds
    blocks = np.arange(len(bounds) - 1)
    if config.shuffle:
        blocks = _philox(config.seed, epoch << 32).permutation(blocks)
    first, last = rank * n_rows // world, (rank + 1) * n_rows // world

    groups: list[Group] = []
    spans: list[tuple[int, int]] = []
    held = done = seen = 0

    def close_group() -> None:
        number = len(groups)
        key = (config.seed, (epoch << 32) + number * world + rank + 1) if config.shuffle else None
        groups.append(Group(number, tuple(sorted(spans)), done, key))

    for block in blocks.tolist():
        size = int(bounds[block + 1] - bounds[block])
        # The block's own cells that fall into this rank's stretch of the epoch.
        start = int(bounds[block]) + min(max(first - seen, 0), size)
        stop = int(bounds[block]) + min(max(last - seen, 0), size)
        seen += size
        if start == stop:
            continue
        if held + stop - start > config.buffer_cells:
            close_group()
            done, held, spans = done + held, 0, []
        spans.append((start, stop))
        held += stop - start
    if spans:
        close_group()
    return tuple(groups)


def step_bounds(n_rows: int, config: StreamConfig, rank: int = 0, world: int = 1) -> Int[ndarray, " bound"]:
    """Where each minibatch of a rank's epoch begins, in cells; the last entry is the rank's cells.

    Every rank has the same number of steps. All minibatches are full but the last; where a rank has one cell
    fewer than another and that would leave it a step short, it gives its last step one cell of the step before.
    """
    n_most = -(-n_rows // world)
    n_steps = -(-n_most // config.minibatch_cells)
    n_own = (rank + 1) * n_rows // world - rank * n_rows // world
    steps = np.arange(n_steps + 1)
    bounds = np.minimum(steps * config.minibatch_cells, n_own - (n_steps - steps))
    return np.maximum(bounds, 0)


def _philox(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))
