"""Which cells of which groups each minibatch of an epoch takes: in natural order, and balanced."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int, Rows
from livelatent.stream.balanced_epoch import BalancedGroup, balanced_epoch, steps_of_groups
from livelatent.stream.carry import carry, in_order
from livelatent.stream.plan import Group, StreamConfig, plan_epoch
from livelatent.stream.read import CsrGroup, GroupReader, group_spec
from livelatent.stream.slots import Slots
from livelatent.stream.together import Together

type Taken = list[tuple[Future[CsrGroup], ndarray]]
"""Groups that a minibatch draws from, some maybe still being read, and places of its cells in each."""


@dataclass
class Course:
    """What a stream goes over, epoch after epoch."""

    rows: Rows
    config: StreamConfig
    bounds: Int[ndarray, " bound"]
    """Where each minibatch begins, in cells of this rank."""
    together: Together
    rank: int
    world: int
    _only_group: "Future[CsrGroup] | None" = None

    def plan(self, epoch: int) -> tuple[Group, ...]:
        """The groups of an epoch."""
        return plan_epoch(self.rows, self.config, epoch, self.rank, self.world)

    def groups(self, reader: GroupReader, plan: tuple[Group, ...]) -> "Iterator[Future[CsrGroup]]":
        """Groups of a plan in their order, as the reader begins them."""
        # Rows that fit in one buffer are the same group in every epoch, so it is read once and kept.
        if self._only_group is not None and not _has_failed(self._only_group):
            yield self._only_group
            return
        specs = (group_spec(group.rows(self.rows), self.config.block_cells, self.together) for group in plan)
        for number, future in enumerate(reader.groups(specs)):
            if plan[number].n_cells == len(self.rows):
                self._only_group = future
            yield future


class NaturalTakes:
    """Each cell once an epoch."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def epoch(self, reader: GroupReader, epoch: int, first_step: int) -> Iterator[Taken]:
        """Per minibatch: the groups it draws from (more than one where it straddles), and which of their cells."""
        bounds = self._course.bounds
        first_cell = int(bounds[first_step])
        plan = tuple(group for group in self._course.plan(epoch) if group.first_cell + group.n_cells > first_cell)
        groups = self._course.groups(reader, plan)
        orders = (group.order() for group in plan)
        group, order = next(groups), next(orders)
        at = first_cell - plan[0].first_cell
        for size in np.diff(bounds[first_step:]).tolist():
            takes: Taken = []
            wanted = size
            while wanted:
                if at == len(order):
                    group, order, at = next(groups), next(orders), 0
                takes.append((group, order[at : at + wanted]))
                at += len(takes[-1][1])
                wanted -= len(takes[-1][1])
            yield takes


class BalancedTakes:
    """K labels x M cells a minibatch; what groups leave to later ones goes on from epoch to epoch.

    Parameters
    ----------
    label, batch
        Codes of each of the course's rows.
    slots
        For the counts of cells that are carried on.
    """

    def __init__(self, course: Course, label: Int[ndarray, " row"], batch: Int[ndarray, " row"], slots: Slots) -> None:
        self._course, self._label, self._batch, self._slots = course, label, batch, slots
        self._last: _Standing | None = None

    def epoch(self, reader: GroupReader, epoch: int, first_step: int) -> Iterator[Taken]:
        """Per minibatch: cells of its group, and of those that the group carries from earlier ones."""
        course = self._course
        plan = course.plan(epoch)
        first_group = int(np.searchsorted(steps_of_groups(plan, course.bounds), first_step, side="right")) - 1
        before = self._last if self._last is not None and self._last.comes_before(epoch, first_group) else None
        self._last = None
        groups = course.groups(reader, plan[first_group:])
        epochs = balanced_epoch(
            course.rows,
            self._label,
            self._batch,
            course.config,
            epoch,
            rank=course.rank,
            world=course.world,
            first_group=first_group,
            before=None if before is None else before.balanced,
        )
        for own, balanced in zip(groups, epochs, strict=True):
            candidates = balanced.candidates
            if before is None or candidates.came_from is None:
                carried = self._read_carried(reader, course.rows[candidates.carried])
            else:
                carried = reader.makers.submit(_carry, before, candidates.came_from, self._slots)
            n_own = candidates.group.n_cells
            for step in range(max(first_step - balanced.first_step, 0), balanced.n_steps):
                cells = balanced.draws.step(step)
                yield [(own, cells[cells < n_own]), (carried, cells[cells >= n_own] - n_own)]
            before = _Standing(epoch, candidates.group.number == len(plan) - 1, balanced, own, carried)
        if before is not None:
            # The next epoch goes on from the last group, which may not have been read yet if no minibatch begins in it.
            before.own.result()
            before.carried.result()
            self._last = before

    def _read_carried(self, reader: GroupReader, rows: Rows) -> "Future[CsrGroup]":
        """Cells that groups before have left, where a run is resumed."""
        spec = group_spec(np.sort(rows), self._course.config.block_cells, self._course.together)
        group = reader.read(spec, self._slots)
        return reader.makers.submit(lambda: in_order(group.result(), rows))


@dataclass(frozen=True)
class _Standing:
    """A group of a balanced epoch whose minibatches have all been given out."""

    epoch: int
    is_last: bool
    """Of its epoch."""
    balanced: BalancedGroup
    own: "Future[CsrGroup]"
    carried: "Future[CsrGroup]"

    def comes_before(self, epoch: int, group: int) -> bool:
        """Whether that group is the next."""
        if group == 0:
            return self.is_last and self.epoch == epoch - 1
        return self.epoch == epoch and self.balanced.candidates.group.number == group - 1


def _carry(before: _Standing, came_from: ndarray, slots: Slots) -> CsrGroup:
    return carry(before.own.result(), before.carried.result(), came_from, slots)


def _has_failed(future: "Future[CsrGroup]") -> bool:
    return future.cancelled() or (future.done() and future.exception() is not None)
