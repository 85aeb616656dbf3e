from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.stream.balance import Balance
from livelatent.stream.balanced_epoch import balance_cost, balanced_epoch, steps_of_groups
from livelatent.stream.plan import StreamConfig, plan_epoch, step_bounds


def small_stream(world=1, temperature=0.0):
    random = np.random.default_rng(0)
    rows = np.flatnonzero(random.random(1300) < 0.8).astype(np.int64)
    label = random.choice(7, len(rows), p=[0.5, 0.2, 0.2, 0.07, 0.02, 0.008, 0.002]).astype(np.int32) - 1
    batch = random.integers(0, 4, len(rows)).astype(np.int32)
    config = StreamConfig(
        minibatch_cells=30,
        block_cells=16,
        buffer_cells=200,
        seed=11,
        balance=Balance(types=3, ring_cells=25, temperature=temperature),
    )
    return rows, label, batch, config


def cells_of(parts):
    return [part.candidates.place[part.draws.step(step)].tolist() for part in parts for step in range(part.n_steps)]


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 30), st.integers(0, 60), st.integers(1, 4))
def test_a_step_belongs_to_the_group_of_its_first_cell(n_rows, minibatch, block, extra, world):
    rows = np.arange(n_rows, dtype=np.int64)
    world = min(world, n_rows)
    config = StreamConfig(minibatch_cells=minibatch, block_cells=block, buffer_cells=block + extra)
    for rank in range(world):
        plan, bounds = plan_epoch(rows, config, 5, rank, world), step_bounds(n_rows, config, rank, world)
        group_of_cell = [group.number for group in plan for _ in range(group.n_cells)]
        steps = Counter(group_of_cell[first] for first in bounds[:-1])
        first_step = steps_of_groups(plan, bounds)
        assert np.diff(first_step).tolist() == [steps[group.number] for group in plan]
        assert first_step[-1] == len(bounds) - 1


@pytest.mark.parametrize("world", [1, 3])
def test_an_epoch_has_as_many_steps_as_in_natural_order_and_each_is_full(world):
    rows, label, batch, config = small_stream()
    for rank in range(world):
        parts = list(balanced_epoch(rows, label, batch, config, 1, rank=rank, world=world))
        steps = cells_of(parts)
        assert len(steps) == len(step_bounds(len(rows), config, rank, world)) - 1
        assert [part.first_step for part in parts] == np.cumsum([0] + [part.n_steps for part in parts])[:-1].tolist()
        for cells in steps:
            assert len(set(cells)) == 30
            assert np.all(label[cells] >= 0)


@pytest.mark.parametrize("world", [1, 3])
def test_an_epoch_gone_on_with_draws_what_the_whole_one_draws(world):
    rows, label, batch, config = small_stream()
    last = None
    for epoch in range(3):
        straight = list(balanced_epoch(rows, label, batch, config, epoch, rank=world - 1, world=world, before=last))
        for first in range(len(straight)):
            again = balanced_epoch(rows, label, batch, config, epoch, rank=world - 1, world=world, first_group=first)
            assert cells_of(again) == cells_of(straight[first:])
        # A group held while the next one is worked out is gone on from, not worked out anew.
        then = balanced_epoch(
            rows, label, batch, config, epoch, rank=world - 1, world=world, first_group=1, before=straight[0]
        )
        assert cells_of(then) == cells_of(straight[1:])
        last = straight[-1]


def test_a_rank_draws_a_label_of_which_it_meets_only_a_part():
    rows = np.arange(4000, dtype=np.int64)
    label = (rows % 100 == 7).astype(np.int32)
    config = StreamConfig(minibatch_cells=60, block_cells=20, buffer_cells=200, balance=Balance(types=2, ring_cells=30))
    # 40 cells in all; a minibatch takes 30, and no rank of four ever has as many at hand.
    for rank in range(4):
        parts = balanced_epoch(rows, label, np.zeros_like(label), config, 1, rank=rank, world=4)
        assert sum(part.draws.given[1] for part in parts) > 40


def test_seeds_epochs_and_ranks_draw_otherwise():
    rows, label, batch, config = small_stream()
    other = StreamConfig.from_dict({**config.to_dict(), "seed": 12})
    runs = [(config, 0, 0, 2), (config, 1, 0, 2), (config, 0, 1, 2), (other, 0, 0, 2)]
    firsts = {
        tuple(cells_of(balanced_epoch(rows, label, batch, one, epoch, rank=rank, world=world))[0])
        for one, epoch, rank, world in runs
    }
    assert len(firsts) == len(runs)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_cost_is_what_counting_the_cells_gives(temperature):
    rows, label, batch, config = small_stream(temperature=temperature)
    cost = balance_cost(rows, label, batch, config, 2)
    parts = list(balanced_epoch(rows, label, batch, config, 2))
    steps = cells_of(parts)
    times = Counter(cell for cells in steps for cell in cells)
    for code, line in cost.labels.iterrows():
        own = [times[cell] for cell in np.flatnonzero(label == code).tolist()]
        assert line["cells"] == len(own)
        assert line["delivered"] == sum(own)
        assert line["distinct"] == sum(n > 0 for n in own)
        assert line["most_repeats"] == max(own)
    assert cost.labels.index.tolist() == list(range(6))
    assert cost.filled == 1
    assert cost.distinct == len(times) / np.count_nonzero(label >= 0)
    # A label drawn is asked for ten cells; only one with fewer in all gives less.
    n_cells = cost.labels["cells"]
    was_drawn = cost.labels["delivered"] > 0
    want = np.minimum(n_cells, 10) / 10
    assert cost.labels["filled"][was_drawn].tolist() == want[was_drawn].tolist()
    given = sum(part.draws.given.sum() for part in parts)
    assert cost.filled_as_asked == given / (len(steps) * 30)
    assert cost.most_carried == max(len(part.candidates.carried) for part in parts)


def test_a_temperature_repeats_rare_cells_less_and_delivers_more_distinct_ones():
    rows, label, batch, _ = small_stream()
    costs = [
        balance_cost(rows, label, batch, small_stream(temperature=temperature)[3], 1) for temperature in (0.0, 0.5, 1.0)
    ]
    assert costs[0].labels["most_repeats"][4] > costs[1].labels["most_repeats"][4] > costs[2].labels["most_repeats"][4]
    assert costs[0].distinct < costs[1].distinct < costs[2].distinct


def test_a_label_without_cells_and_a_stream_without_labels_cost_nothing():
    rows = np.arange(50, dtype=np.int64)
    batch = np.zeros(50, np.int32)
    config = StreamConfig(minibatch_cells=10, block_cells=5, buffer_cells=20, balance=Balance(types=2, ring_cells=8))
    with_gap = balance_cost(rows, np.repeat([0, 2], 25).astype(np.int32), batch, config, 1)
    assert with_gap.labels.loc[1, ["cells", "delivered", "distinct", "most_repeats"]].tolist() == [0, 0, 0, 0]
    assert np.isnan(with_gap.labels.loc[1, "filled"])
    assert with_gap.filled == with_gap.filled_as_asked == 1
    without = balance_cost(rows, np.full(50, -1, np.int32), batch, config, 1)
    assert (without.filled, without.distinct, len(without.labels)) == (0, 0, 0)


def test_the_cost_of_no_cells_is_refused():
    nothing = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="got none"):
        balance_cost(nothing, nothing, nothing, StreamConfig(balance=Balance()), 0)


@pytest.mark.parametrize(("types", "m_cells"), [(16, 64), (30, 34), (8, 32)])
@pytest.mark.parametrize("n_cells", [200_000, 1_000_000])
def test_slots_are_filled_with_thirty_types_of_which_the_rarest_is_one_cell_in_2400(types, m_cells, n_cells):
    random = np.random.default_rng(6)
    share = np.maximum(random.dirichlet(np.ones(30)), 0.00041)
    label = random.choice(30, n_cells, p=share / share.sum()).astype(np.int32)
    batch = random.integers(0, 20, n_cells).astype(np.int32)
    config = StreamConfig(minibatch_cells=types * m_cells, balance=Balance(types=types))
    for epoch in (0, 1):
        cost = balance_cost(np.arange(n_cells), label, batch, config, epoch)
        assert cost.filled == 1
        assert cost.filled_as_asked >= 0.99
        assert cost.most_carried <= 30 * 512


def test_an_epoch_is_the_same_on_every_machine():
    # Written down once: a change of these numbers changes every resumed run.
    rows, label = np.arange(24, dtype=np.int64), np.array([0, 1, 2, 0, 0, -1] * 4, np.int32)
    config = StreamConfig(
        minibatch_cells=4, block_cells=2, buffer_cells=10, seed=5, balance=Balance(types=2, ring_cells=4)
    )
    assert cells_of(balanced_epoch(rows, label, np.zeros_like(label), config, epoch=3)) == GOLDEN


GOLDEN = [[19, 1, 18, 16], [12, 22, 13, 7], [0, 18, 19, 1], [6, 10, 20, 14], [8, 2, 7, 19], [2, 8, 3, 4]]
