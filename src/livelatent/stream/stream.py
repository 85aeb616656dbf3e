"""The store as a resumable run of minibatches."""

import dataclasses
import functools
import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
import torch

from livelatent.arrays import Rows
from livelatent.atlas.atlas import Atlas
from livelatent.errors import LabelError
from livelatent.stream.ahead import ahead
from livelatent.stream.balanced_epoch import BalanceCost, balance_cost
from livelatent.stream.cells import Take
from livelatent.stream.columns import columns_of
from livelatent.stream.health import Health, Meter, Mixture
from livelatent.stream.memory import needs_of, portions_ahead, portions_at_once, within
from livelatent.stream.minibatch import Assembly, Form, Minibatch, Values
from livelatent.stream.plan import SMALL_BLOCK_CELLS, StreamConfig, step_bounds
from livelatent.stream.position import Position, hash_rows
from livelatent.stream.read import GroupReader
from livelatent.stream.slots import Slots
from livelatent.stream.takes import BalancedTakes, Course, NaturalTakes, Taken
from livelatent.stream.together import Together

if TYPE_CHECKING:
    from livelatent.stream.torch_data import StreamDataset, TorchForm

type Portion = list[tuple[Minibatch, Mixture]]
"""Minibatches that are made in one go."""
type Job = Callable[[], Portion]


def suited(config: StreamConfig, atlases: Sequence[Atlas]) -> StreamConfig:
    """The configuration with blocks small enough for atlases that are not shuffled."""
    if all(atlas.is_shuffled for atlas in atlases):
        return config
    return dataclasses.replace(config, block_cells=min(config.block_cells, SMALL_BLOCK_CELLS))


class Stream:
    """Minibatches of one or several atlases, epoch by epoch, in an order that seed and epoch fix.

    Parameters
    ----------
    rows
        Store rows to deliver, or a mask (of several atlases: one of each); each comes once per epoch. None means all
        that QC keeps.
    genes
        Names of the genes to deliver, in that order; None means the store's (of several: those that all have). One
        that an atlas lacks comes as 0.
    mean_total
        Mean total count to scale cells to; None means the atlas's own. A query is given its model's.
    config
        How an epoch is cut up (None: in small blocks where an atlas is not shuffled), and whether minibatches are
        balanced; cells without a label are in no balanced one.
    memory
        Limit such as `"1GB"` on what the stream holds; the buffer becomes as large as it allows, and stands in
        `config` then. None keeps the buffer of `config`, whatever it takes.
    values
        `"log1p"`: log1p(count * mean_total / total); or `"counts"`.
    sparse
        Deliver `x` as a `torch.sparse_csr` tensor.
    obs, obsm
        Names of columns and arrays that come along with each cell.

    Raises
    ------
    GeneMismatchError
        If more than half of `genes` are missing from an atlas, or one is named twice.
    ColumnError
        If an atlas has no such column or array.
    LabelError
        If minibatches are to be balanced and no cell has a label.
    MemoryLimitError
        If `memory` is too little; it says how much would do.
    """

    def __init__(
        self,
        atlas: Atlas | Sequence[Atlas],
        rows: "Rows | Sequence[Rows] | None" = None,
        config: StreamConfig | None = None,
        *,
        genes: Sequence[str] | np.ndarray | None = None,
        mean_total: float | None = None,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
        memory: int | str | None = None,
        values: Values = "log1p",
        sparse: bool = False,
        obs: Sequence[str] = (),
        obsm: Sequence[str] = (),
    ) -> None:
        if values not in ("log1p", "counts"):
            raise ValueError(f'values is "log1p" or "counts"; got {values!r}.')
        atlases = [atlas] if isinstance(atlas, Atlas) else list(atlas)
        config = suited(StreamConfig(), atlases) if config is None else config
        together = Together(atlases, config.block_cells)
        self._together = together
        self.atlases = together.atlases
        self.rows = together.rows(rows)
        """Sorted; of several atlases, those of the k-th lie `first_row[k]` higher."""
        if config.balance is not None:
            self.rows = self.rows[self._of_rows(together.label) >= 0]
            if not len(self.rows):
                raise LabelError(
                    f"{together.atlases[0].path}: none of the cells has a label, and minibatches were to be balanced "
                    "over labels. Name a label column at ingest, or leave out `balance`."
                )
        self.first_row = together.first
        self.values = values
        self.device = torch.device(device)
        self.rank, self.world = rank, world
        self.genes = together.genes(genes)
        maps, missing = together.gene_maps(self.genes)
        self.missing = tuple(dict.fromkeys(name for names in missing for name in names))
        """Names of wanted genes that an atlas lacks."""
        self.mean_total = float(together.mean_total if mean_total is None else mean_total)
        columns = columns_of(together, obs, obsm)
        self._obsm = columns.obsm
        self.obs_names = columns.names
        """What the codes of each column of `obs` mean; None for numbers."""
        needs = needs_of(
            together,
            self.rows,
            config.block_cells,
            n_genes=self.n_genes,
            is_sparse=sparse,
            n_labels=len(together.label_names) if config.balance else 0,
            n_obs=columns.n_numbers,
            world=world,
            limit=memory,
        )
        if memory is not None:
            config = within(memory, config, needs)
        self.config = config
        """Resolved: with the buffer that `memory` has bought."""
        self._bounds = step_bounds(len(self.rows), config, rank, world)
        # Balanced order follows from labels and batches too.
        self._order_facts: list[np.ndarray] = []
        if config.balance is not None:
            self._order_facts = [self._of_rows(together.label), self._of_rows(together.batch)]
        self._rows_sha256 = hash_rows(self.rows, *self._order_facts)
        self._portion = needs.portion(config)
        self._group_slots = Slots(needs.group(config.buffer_cells), needs.groups_at_once(config))
        self._assembly = Assembly(
            together,
            Form(tuple(self.genes.tolist()), tuple(maps), self.mean_total, values, sparse),
            columns,
            Slots(needs.portion_bytes(config), portions_at_once(config)),
            self.device,
        )
        self._carried_slots = Slots(needs.carried(config), needs.carried_at_once(config))
        self._readers: weakref.WeakSet[GroupReader] = weakref.WeakSet()
        self._course = course = Course(self.rows, config, self._bounds, together, rank, world)
        self._takes: NaturalTakes | BalancedTakes = NaturalTakes(course)
        if self._order_facts:
            label, batch = self._order_facts
            self._takes = BalancedTakes(course, label, batch, self._carried_slots)
        self._meter, self._bytes_read = Meter(), 0

    @property
    def atlas(self) -> Atlas:
        """The atlas; the first of several."""
        return self.atlases[0]

    @property
    def n_genes(self) -> int:
        """Columns of a minibatch."""
        return len(self.genes)

    @property
    def n_steps(self) -> int:
        """Minibatches of one epoch; the last may be smaller."""
        return len(self._bounds) - 1

    @property
    def missing_share(self) -> float:
        """Share of the wanted genes that an atlas lacks; they come as 0."""
        return len(self.missing) / max(self.n_genes, 1)

    @property
    def label_names(self) -> tuple[str, ...]:
        """What label codes mean."""
        return self._together.label_names

    @property
    def batch_names(self) -> tuple[str, ...]:
        """What batch codes mean."""
        return self._together.batch_names

    def health(self) -> Health:
        """How fast it delivers, how long the consumer waits, and what minibatches hold."""
        return self._meter.health(self._bytes_read + sum(reader.bytes_read for reader in self._readers))

    def minibatches(self, epoch: int, first_step: int = 0, *, goes_on: bool = False) -> Iterator[Minibatch]:
        """Deliver one epoch, from `first_step` on.

        Parameters
        ----------
        goes_on
            The next epoch will be asked for: its first groups are read before this one ends, and held until then.
        """
        if first_step >= self.n_steps:
            return
        with GroupReader(self._together, self._group_slots, self.config.groups_ahead, self._obsm) as reader:
            self._readers.add(reader)
            takes = self._takes.epoch(reader, epoch, first_step, goes_on=goes_on)
            portions = ahead(self._jobs(takes), reader.makers, portions_ahead(self.config))
            waiting: deque[tuple[Minibatch, Mixture]] = deque()
            try:
                self._meter.begins()
                while True:
                    if reader.is_closed:
                        # What is left of a group that was read could still be made, and then no more.
                        raise CancelledError
                    self._meter.asked()
                    ready = reader.ready_share
                    if not waiting:
                        waiting.extend(next(portions))
                    minibatch, held = waiting.popleft()
                    self._meter.gives(held, ready)
                    yield minibatch
                    del minibatch
            except StopIteration:
                return
            except (CancelledError, RuntimeError) as error:
                if not reader.is_closed:
                    raise
                raise RuntimeError("the stream was closed within this epoch; ask for its minibatches again.") from error
            finally:
                portions.close()
                self._course.finish()
                self._bytes_read += reader.bytes_read
                self._readers.discard(reader)

    def position(self, epoch: int, step: int) -> Position:
        """Where the stream stands when `step` minibatches of `epoch` are done."""
        return Position(epoch, step, self._rows_sha256, self.config)

    def as_torch(self, form: "TorchForm" = "livelatent") -> "StreamDataset":
        """A `torch.utils.data.IterableDataset` of minibatches as dicts, for `DataLoader(dataset, batch_size=None)`."""
        from livelatent.stream.torch_data import StreamDataset

        return StreamDataset(self, form=form)

    def check(self, position: Position) -> None:
        """Refuse a position in other cells, or in another order.

        Raises
        ------
        ResumeError
            If rows, buffer or seed differ from those that it counts in; for a balanced stream labels and batches too.
        """
        position.check(self.rows, self.config, *self._order_facts)

    def balance_cost(self, epoch: int = 0) -> BalanceCost:
        """What a balanced epoch repeats, leaves out and can't fill, by label name; from index work alone.

        Raises
        ------
        ValueError
            If the stream is not balanced.
        """
        if self.config.balance is None:
            raise ValueError("each cell comes once an epoch: there is no balance in this stream's config.")
        label, batch = self._order_facts
        cost = balance_cost(self.rows, label, batch, self.config, epoch)
        return dataclasses.replace(cost, labels=cost.labels.set_axis(pd.Index(self.label_names, name="label")))

    def close(self) -> None:
        """Stop the reading threads. The stream can be used again: they start anew."""
        self._course.forget()
        for reader in list(self._readers):
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _jobs(self, takes: Iterator[Taken]) -> Iterator[Job]:
        # The first ones are small: whoever begins an epoch waits for a minibatch, not for many.
        n = 1
        while steps := tuple(itertools.islice(takes, n)):
            yield functools.partial(self._made, steps)
            n = min(2 * n, self._portion)

    def _made(self, steps: Sequence[Taken]) -> Portion:
        sizes = [sum(len(cells) for _, cells in taken) for taken in steps]
        takes = [Take(group.result(), cells) for taken in steps for group, cells in taken if len(cells)]
        return self._assembly(takes, sizes)

    def _of_rows(self, of_atlas: "list[np.ndarray]") -> np.ndarray:
        return self._together.per_cell(self.rows, of_atlas)
