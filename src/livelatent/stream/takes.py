"""Which cells of which groups each minibatch of an epoch takes: in natural order, and balanced."""

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from livelatent.arrays import Int, Rows
from livelatent.stream.balanced_epoch import BalancedGroup, balanced_epoch, steps_of_groups
from livelatent.stream.carry import carry, in_order
from livelatent.stream.plan import Group, StreamConfig, block_bounds, plan_epoch
from livelatent.stream.read import CsrGroup, GroupReader, GroupSpec, group_spec
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
    _begun: "tuple[int, list[Future[CsrGroup]]] | None" = None
    """An epoch, and its first groups, which the one before has begun to read."""

    @functools.cached_property
    def _blocks(self) -> Int[ndarray, " bound"]:
        return block_bounds(self.rows, self.config.block_cells)

    def plan(self, epoch: int) -> tuple[Group, ...]:
        """The groups of an epoch."""
        return plan_epoch(self.rows, self.config, epoch, self.rank, self.world, self._blocks)

    def groups(
        self, reader: GroupReader, epoch: int, plan: tuple[Group, ...], *, goes_on: bool
    ) -> "Iterator[Future[CsrGroup]]":
        """Groups of an epoch in their order, as the reader begins them.

        Parameters
        ----------
        plan
            Those from the first that is wanted to the last.
        goes_on
            Begin to read the next epoch's first as well; this takes effect when the iterator is exhausted.
        """
        # Rows that fit in one buffer are the same group in every epoch, so it is read once and kept.
        if self._only_group is not None and not _has_failed(self._only_group):
            yield self._only_group
            return
        is_only = plan[0].n_cells == len(self.rows)
        begun = self._begun_for(epoch) if plan[0].number == 0 else []
        own = plan[len(begun) :]
        specs = itertools.chain(
            map(self._spec, own), self._first_specs(epoch + 1) if goes_on and not is_only else iter(())
        )
        found = reader.groups(specs, begun)
        for _ in plan:
            future = next(found)
            if is_only:
                self._only_group = future
            yield future
        if goes_on:
            self._begun = epoch + 1, list(found)

    def finish(self) -> None:
        """Wait for what has been begun of another epoch."""
        wait(self._begun[1] if self._begun else ())

    def forget(self) -> None:
        """Leave what has been begun of another epoch."""
        self._begun = None

    def _begun_for(self, epoch: int) -> "list[Future[CsrGroup]]":
        begun, self._begun = self._begun, None
        if begun is None or begun[0] != epoch or any(_has_failed(future) for future in begun[1]):
            return []
        return begun[1]

    def _first_specs(self, epoch: int) -> Iterator[GroupSpec]:
        yield from map(self._spec, self.plan(epoch)[: self.config.groups_ahead])

    def _spec(self, group: Group) -> GroupSpec:
        return group_spec(group.rows(self.rows), self.config.block_cells, self.together)


class NaturalTakes:
    """Each cell once an epoch."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def epoch(self, reader: GroupReader, epoch: int, first_step: int, *, goes_on: bool = False) -> Iterator[Taken]:
        """Per minibatch: the groups it draws from (more than one where it straddles), and which of their cells."""
        bounds = self._course.bounds
        first_cell = int(bounds[first_step])
        plan = tuple(group for group in self._course.plan(epoch) if group.first_cell + group.n_cells > first_cell)
        groups = self._course.groups(reader, epoch, plan, goes_on=goes_on)
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
        exhausted = next(groups, None)
        assert exhausted is None


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

    def epoch(self, reader: GroupReader, epoch: int, first_step: int, *, goes_on: bool = False) -> Iterator[Taken]:
        """Per minibatch: cells of its group, and of those that the group carries from earlier ones."""
        course = self._course
        plan = course.plan(epoch)
        first_group = int(np.searchsorted(steps_of_groups(plan, course.bounds), first_step, side="right")) - 1
        before = self._last if self._last is not None and self._last.comes_before(epoch, first_group) else None
        self._last = None
        groups = course.groups(reader, epoch, plan[first_group:], goes_on=goes_on)
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
