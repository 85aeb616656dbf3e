"""The store as a resumable run of minibatches."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch

from livelatent.arrays import Rows, as_rows
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.genes import missing_genes
from livelatent.atlas.passes import size_factor
from livelatent.errors import GeneMismatchError
from livelatent.stream.minibatch import Minibatch, scatter_log
from livelatent.stream.plan import StreamConfig, plan_epoch, step_bounds
from livelatent.stream.position import Position, hash_rows
from livelatent.stream.read import CsrGroup, GroupReader, group_spec


class Stream:
    """Minibatches of an atlas, epoch by epoch, in an order that seed and epoch fix.

    Parameters
    ----------
    rows
        Store rows to deliver, or a mask; each comes once per epoch.
    genes
        Names of the genes to deliver, in that order; None means the store's. One that the store lacks comes as 0.
    mean_total
        L of METHODS 1; None means the atlas's own. A query is given its model's.

    Raises
    ------
    GeneMismatchError
        If more than half of `genes` are missing from the atlas, or one is named twice.
    """

    def __init__(
        self,
        atlas: Atlas,
        rows: Rows,
        config: StreamConfig | None = None,
        *,
        genes: Sequence[str] | np.ndarray | None = None,
        mean_total: float | None = None,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.atlas = atlas
        self.rows = as_rows(rows, atlas.n_cells)
        self.config = StreamConfig() if config is None else config
        self.device = torch.device(device)
        self.mean_total = float(atlas.mean_total if mean_total is None else mean_total)
        self.rank, self.world = rank, world
        self.n_genes = atlas.n_genes if genes is None else len(genes)
        # `missing`: names of wanted genes that the atlas lacks.
        self._gene_map, self.missing = _gene_map(atlas, genes)
        self._bounds = step_bounds(len(self.rows), self.config, rank, world)
        self._reader: GroupReader | None = None
        self._rows_sha256 = hash_rows(self.rows)
        self._only_group: CsrGroup | None = None

    @property
    def n_steps(self) -> int:
        """Minibatches of one epoch; the last may be smaller."""
        return len(self._bounds) - 1

    @property
    def missing_share(self) -> float:
        """Share of the wanted genes that the atlas lacks; they come as 0."""
        return len(self.missing) / max(self.n_genes, 1)

    def minibatches(self, epoch: int, first_step: int = 0) -> Iterator[Minibatch]:
        """Deliver one epoch, from `first_step` on."""
        for group, cells, size in self._takes(epoch, first_step):
            yield self._assemble(group, cells, size)

    def position(self, epoch: int, step: int) -> Position:
        """Where the stream stands when `step` minibatches of `epoch` are done."""
        return Position(epoch, step, self._rows_sha256, self.config)

    def close(self) -> None:
        """Stop the reading threads. The stream can be used again: they start anew."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _takes(self, epoch: int, first_step: int) -> Iterator[tuple[list[CsrGroup], list[np.ndarray], int]]:
        """Per minibatch: the groups it draws from (two where it straddles), and which of their cells."""
        if first_step >= self.n_steps:
            return
        plan = plan_epoch(self.rows, self.config, epoch, self.rank, self.world)
        first_cell = int(self._bounds[first_step])
        plan = tuple(group for group in plan if group.first_cell + group.n_cells > first_cell)
        groups = self._groups([group.rows(self.rows) for group in plan])
        orders = (group.order() for group in plan)
        group, order = next(groups), next(orders)
        at = first_cell - plan[0].first_cell
        for size in np.diff(self._bounds[first_step:]).tolist():
            parts, cells, wanted = [], [], size
            while wanted:
                if at == len(order):
                    group, order, at = next(groups), next(orders), 0
                cells.append(order[at : at + wanted])
                parts.append(group)
                at += len(cells[-1])
                wanted -= len(cells[-1])
            yield parts, cells, size

    def _groups(self, rows_of_groups: list[Rows]) -> Iterator[CsrGroup]:
        # Rows that fit in one buffer are the same group in every epoch, so it is read once and kept.
        if self._only_group is not None:
            yield self._only_group
            return
        if self._reader is None:
            self._reader = GroupReader(self.atlas, self.config.groups_ahead)
        specs = [group_spec(rows, self.config.block_cells) for rows in rows_of_groups]
        for group in self._reader.groups(specs):
            if len(group.rows) == len(self.rows):
                self._only_group = group
            yield group

    def _assemble(self, groups: list[CsrGroup], cells: list[np.ndarray], size: int) -> Minibatch:
        x = np.zeros((size, self.n_genes), np.float32)
        rows = np.concatenate([group.rows[cell] for group, cell in zip(groups, cells, strict=True)] or [_NONE])
        total = self.atlas.total[rows]
        scale = size_factor(total, self.mean_total)
        done = 0
        for group, cell in zip(groups, cells, strict=True):
            part = slice(done, done + len(cell))
            scatter_log(
                group.data,
                group.indices,
                group.start[cell],
                group.stop[cell],
                self._gene_map,
                scale[part],
                x[part],
            )
            done += len(cell)
        return Minibatch(
            x=torch.from_numpy(x).to(self.device),
            label=torch.from_numpy(self.atlas.label[rows].astype(np.int64)).to(self.device),
            batch=torch.from_numpy(self.atlas.batch[rows].astype(np.int64)).to(self.device),
            cell=torch.from_numpy(rows).to(self.device),
            total=torch.from_numpy(total.astype(np.float32)).to(self.device),
        )


_NONE = np.empty(0, np.int64)


def _gene_map(atlas: Atlas, genes: Sequence[str] | np.ndarray | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Place of each store gene among `genes` (-1: not wanted), and the names the store lacks."""
    if genes is None:
        return np.arange(atlas.n_genes, dtype=np.int32), ()
    place = {str(name): column for column, name in enumerate(genes)}
    if len(place) != len(genes):
        raise GeneMismatchError(f"{len(genes) - len(place)} of the {len(genes)} genes to deliver are named twice.")
    names = [str(name) for name in atlas.genes]
    missing = missing_genes(atlas.path, list(place), names)
    return np.array([place.get(name, -1) for name in names], dtype=np.int32), missing
