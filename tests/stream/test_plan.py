import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.stream.plan import StreamConfig, plan_epoch, step_bounds

configs = st.builds(
    lambda minibatch, block, extra, seed, shuffle: StreamConfig(
        minibatch_cells=minibatch, block_cells=block, buffer_cells=block + extra, seed=seed, shuffle=shuffle
    ),
    st.integers(1, 40),
    st.integers(1, 30),
    st.integers(0, 90),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
subsets = st.builds(
    lambda n, keep, seed: np.flatnonzero(np.random.default_rng(seed).random(n) < keep).astype(np.int64),
    st.integers(0, 400),
    st.floats(0.05, 1),
    st.integers(0, 99),
)


def cells_of(rows, plan):
    parts = [group.rows(rows)[group.order()] for group in plan]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


@settings(deadline=None, max_examples=150)
@given(subsets, configs, st.integers(0, 1000), st.integers(1, 5))
def test_ranks_deliver_every_selected_row_once(rows, config, epoch, world):
    world = min(world, max(len(rows), 1))
    got = [cells_of(rows, plan_epoch(rows, config, epoch, rank, world)) for rank in range(world)]
    assert sorted(itertools.chain(*(cells.tolist() for cells in got))) == rows.tolist()
    sizes = [len(cells) for cells in got]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, max_examples=150)
@given(subsets, configs, st.integers(0, 1000))
def test_a_group_fits_its_buffer_and_holds_whole_blocks(rows, config, epoch):
    plan = plan_epoch(rows, config, epoch)
    done = 0
    block_of = {}
    for number, group in enumerate(plan):
        assert (group.number, group.first_cell) == (number, done)
        assert 0 < group.n_cells <= config.buffer_cells
        own = group.rows(rows)
        assert np.all(np.diff(own) > 0)
        for block in np.unique(own // config.block_cells):
            assert block_of.setdefault(int(block), number) == number
        done += group.n_cells
    assert done == len(rows)


@settings(deadline=None, max_examples=150)
@given(subsets, configs, st.integers(1, 5))
def test_every_rank_takes_as_many_steps_and_leaves_no_cell(rows, config, world):
    world = min(world, max(len(rows), 1))
    bounds = [step_bounds(len(rows), config, rank, world) for rank in range(world)]
    assert len({len(bound) for bound in bounds}) == 1
    for rank, bound in enumerate(bounds):
        own = sum(group.n_cells for group in plan_epoch(rows, config, 0, rank, world))
        sizes = np.diff(bound)
        assert (bound[0], bound[-1]) == (0, own)
        assert np.all(sizes <= config.minibatch_cells)
        if world == 1:
            assert np.all(sizes[:-1] == config.minibatch_cells)
        elif config.minibatch_cells > 1:
            assert np.all(sizes > 0)


def test_without_shuffle_cells_come_in_store_order():
    rows = np.array([0, 1, 4, 9, 10, 11, 30, 31], dtype=np.int64)
    config = StreamConfig(block_cells=4, buffer_cells=4, shuffle=False)
    assert cells_of(rows, plan_epoch(rows, config, epoch=7)).tolist() == rows.tolist()


def test_order_depends_on_seed_and_epoch_alone():
    rows = np.arange(500, dtype=np.int64)
    orders = {
        (seed, epoch): tuple(
            cells_of(rows, plan_epoch(rows, StreamConfig(block_cells=10, buffer_cells=80, seed=seed), epoch))
        )
        for seed, epoch in itertools.product(range(3), range(3))
    }
    assert len(set(orders.values())) == 9
    again = cells_of(rows, plan_epoch(rows, StreamConfig(block_cells=10, buffer_cells=80, seed=2), 1))
    assert tuple(again) == orders[2, 1]


def test_a_plan_is_the_same_on_every_machine():
    # Written down once: a change of these numbers breaks every saved position.
    rows = np.arange(12, dtype=np.int64)
    config = StreamConfig(block_cells=2, buffer_cells=6, seed=5)
    assert cells_of(rows, plan_epoch(rows, config, epoch=3)).tolist() == GOLDEN


GOLDEN = [10, 1, 6, 0, 11, 7, 2, 5, 9, 3, 8, 4]


@pytest.mark.parametrize(
    "wrong", [{"minibatch_cells": 0}, {"block_cells": 0}, {"block_cells": 9, "buffer_cells": 8}, {"seed": -1}]
)
def test_a_config_that_can_not_work_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        StreamConfig(**wrong)


def test_more_ranks_than_cells_is_refused():
    with pytest.raises(ValueError, match="each needs at least one"):
        plan_epoch(np.arange(2, dtype=np.int64), StreamConfig(), 0, rank=0, world=3)
