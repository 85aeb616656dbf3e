"""A balanced epoch as index work alone: what each group carries and draws, and what the balance costs in repeats."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from livelatent.arrays import Int, Rows, ndarray
from livelatent.stream.draws import GroupDraws, draw_group
from livelatent.stream.plan import Group, StreamConfig, plan_epoch, step_bounds
from livelatent.stream.rings import Candidates, candidates_after, candidates_at


@dataclass(frozen=True)
class BalancedGroup:
    """One group of a balanced epoch."""

    candidates: Candidates
    first_step: int
    draws: GroupDraws
    """The group's steps: `draws.step(0)` is the epoch's `first_step`."""

    @property
    def n_steps(self) -> int:
        """Minibatches drawn from the group; may be none."""
        return len(self.draws.stop)


def steps_of_groups(plan: tuple[Group, ...], bounds: Int[ndarray, " bound"]) -> Int[ndarray, " bound"]:
    """The first step of each group, and at last the number of steps.

    A step belongs to the group that holds the cell with which it would begin in natural order, `bounds[step]` of
    `step_bounds`. A group smaller than a minibatch may have none.
    """
    first = np.searchsorted(bounds[:-1], [group.first_cell for group in plan])
    return np.append(first, len(bounds) - 1)


def balanced_epoch(
    rows: Rows,
    label: Int[ndarray, " row"],
    batch: Int[ndarray, " row"],
    config: StreamConfig,
    epoch: int,
    *,
    rank: int = 0,
    world: int = 1,
    first_group: int = 0,
    before: BalancedGroup | None = None,
) -> Iterator[BalancedGroup]:
    """The groups of an epoch in their order, from `first_group` on.

    Parameters
    ----------
    label, batch
        Codes of each of `rows`; a label of -1 is none.
    before
        The group that came before the first one here, maybe the last of the epoch before: its candidates are gone on
        from. Without it the plans are gone back over, once.
    """
    assert config.balance is not None
    plan = plan_epoch(rows, config, epoch, rank, world)
    first_step = steps_of_groups(plan, step_bounds(len(rows), config, rank, world))
    n_cells = np.bincount(label + 1, minlength=1)[1:]
    for group in plan[first_group:]:
        if before is None:
            candidates = candidates_at(rows, label, config, epoch, group.number, rank, world)
        else:
            candidates = candidates_after(before.candidates, group, label, config.balance.ring_cells)
        first, stop = first_step[group.number : group.number + 2].tolist()
        assert group.key is not None
        draws = draw_group(
            candidates.label,
            batch[candidates.place],
            group.n_cells,
            n_cells,
            config,
            group.key,
            stop - first,
            world,
        )
        before = BalancedGroup(candidates, first, draws)
        yield before


@dataclass(frozen=True)
class BalanceCost:
    """What one epoch of balanced minibatches gives up."""

    labels: pd.DataFrame
    """Per label code: `cells` that the stream has, `delivered` and `distinct` ones, `most_repeats` of one cell, and
    `filled`, the share of the cells it was asked for that it gave (NaN where it was never asked)."""
    filled: float
    """Share of the K x M slots that hold a cell."""
    filled_as_asked: float
    """Share of them that hold a cell of a label that was drawn; the rest was filled from others."""
    distinct: float
    """Share of the labelled cells that were delivered at all."""
    most_carried: int
    """Cells held beside a group, at most."""


def balance_cost(
    rows: Rows,
    label: Int[ndarray, " row"],
    batch: Int[ndarray, " row"],
    config: StreamConfig,
    epoch: int,
) -> BalanceCost:
    """What a balanced epoch repeats, leaves out and can't fill. No data are read.

    Parameters
    ----------
    label, batch
        Codes of each of `rows`; a label of -1 is none.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    assert config.balance is not None
    if len(rows) == 0:
        raise ValueError("what a balance costs is a share of cells, so there must be some; got none.")
    n_cells = np.bincount(label + 1, minlength=1)[1:]
    times = np.zeros(len(rows), np.int64)
    asked, given = np.zeros_like(n_cells), np.zeros_like(n_cells)
    n_steps = most_carried = 0
    for part in balanced_epoch(rows, label, batch, config, epoch):
        np.add.at(times, part.candidates.place[part.draws.position], 1)
        asked += part.draws.asked
        given += part.draws.given
        n_steps += part.n_steps
        most_carried = max(most_carried, len(part.candidates.carried))
    n_slots = n_steps * config.balance.types * (config.minibatch_cells // config.balance.types)
    labelled = pd.DataFrame({"label": label, "times": times})[label >= 0].groupby("label")["times"]
    every = pd.RangeIndex(len(n_cells), name="label")
    table = pd.DataFrame(
        {
            "cells": n_cells,
            "delivered": labelled.sum().reindex(every, fill_value=0),
            "distinct": labelled.agg(np.count_nonzero).reindex(every, fill_value=0),
            "most_repeats": labelled.max().reindex(every, fill_value=0),
            "filled": given / np.where(asked > 0, asked, np.nan),
        },
        index=every,
    )
    return BalanceCost(
        labels=table,
        filled=int(times.sum()) / n_slots,
        filled_as_asked=int(given.sum()) / n_slots,
        distinct=int(np.count_nonzero(times)) / max(int(n_cells.sum()), 1),
        most_carried=most_carried,
    )
