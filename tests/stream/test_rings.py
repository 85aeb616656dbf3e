import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from livelatent.stream.balance import Balance
from livelatent.stream.plan import StreamConfig, plan_epoch
from livelatent.stream.rings import candidates_after, candidates_at

EPOCHS = 4


@st.composite
def labelled_streams(draw):
    """Rows with gaps, labels from plentiful to a single cell and none, a config of a few groups an epoch, and ranks."""
    n_cells = draw(st.integers(1, 160))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = np.flatnonzero(random.random(n_cells) < draw(st.floats(0.3, 1))).astype(np.int64)
    rows = rows if len(rows) else np.array([3], np.int64)
    share = random.dirichlet(np.full(draw(st.integers(1, 7)), 0.4))
    label = (random.choice(len(share), len(rows), p=share) - draw(st.integers(0, 1))).astype(np.int32)
    block = draw(st.integers(1, 20))
    config = StreamConfig(
        minibatch_cells=4,
        block_cells=block,
        buffer_cells=block + draw(st.integers(0, 60)),
        seed=draw(st.integers(0, 2**64 - 1)),
        balance=Balance(types=2, ring_cells=draw(st.integers(2, 25))),
    )
    return rows, label, config, min(draw(st.integers(1, 4)), len(rows))


def arrived_before(rows, config, epoch, number, rank, world):
    """Rows that the stream in natural order has delivered since the epoch before began, the latest first."""
    groups = [(group, epoch) for group in plan_epoch(rows, config, epoch, rank, world)[:number]]
    if epoch:
        groups = [(group, epoch - 1) for group in plan_epoch(rows, config, epoch - 1, rank, world)] + groups
    return [(int(row), of) for group, of in groups for row in group.rows(rows)[group.order()]][::-1]


def slow_carried(rows, label, config, epoch, number, rank, world):
    own = plan_epoch(rows, config, epoch, rank, world)[number].rows(rows).tolist()
    label_of = dict(zip(rows.tolist(), label.tolist(), strict=True))
    have = {code: sum(label_of[row] == code for row in own) for code in set(label.tolist())}
    seen, carried = set(own), []
    for row, of in arrived_before(rows, config, epoch, number, rank, world):
        code = label_of[row]
        if row not in seen and code != -1 and have[code] < config.balance.ring_cells:
            carried.append((row, of))
            have[code] += 1
        seen.add(row)
    return carried


@settings(deadline=None, max_examples=40)
@given(labelled_streams())
def test_from_group_to_group_and_by_going_back_the_same_cells_are_carried(stream):
    rows, label, config, world = stream
    for rank in range(world):
        going = None
        for epoch in range(EPOCHS):
            for group in plan_epoch(rows, config, epoch, rank, world):
                back = candidates_at(rows, label, config, epoch, group.number, rank, world)
                before = going
                going = back if before is None else candidates_after(before, group, label, config.balance.ring_cells)
                own = group.rows(rows)
                want = slow_carried(rows, label, config, epoch, group.number, rank, world)
                for got in (back, going):
                    assert rows[got.place].tolist() == own.tolist() + [row for row, _ in want]
                    assert rows[got.carried].tolist() == [row for row, _ in want]
                    assert got.label.tolist() == label[got.place].tolist()
                    assert got.n_this_epoch == len(own) + sum(of == epoch for _, of in want)
                if before is not None:
                    assert before.place[going.came_from].tolist() == going.carried.tolist()


def test_a_stream_begins_with_nothing_carried():
    rows, label = np.arange(40, dtype=np.int64), np.zeros(40, np.int32)
    config = StreamConfig(minibatch_cells=4, block_cells=5, buffer_cells=10, balance=Balance(types=1, ring_cells=30))
    assert len(candidates_at(rows, label, config, 0, 0).carried) == 0
    # Ten own cells a group and twenty of the two before; with the epochs going on, also for the first group.
    for epoch, number in itertools.product((1, 2), range(4)):
        assert len(candidates_at(rows, label, config, epoch, number).carried) == 20


def test_a_plentiful_label_carries_nothing_and_a_rare_one_all_its_cells():
    rows = np.arange(600, dtype=np.int64)
    label = np.where(rows % 100 == 7, 1, 0).astype(np.int32)
    config = StreamConfig(minibatch_cells=8, block_cells=10, buffer_cells=100, balance=Balance(types=2, ring_cells=50))
    for number in range(6):
        at_hand = candidates_at(rows, label, config, 3, number)
        assert set(at_hand.label[100:].tolist()) <= {1}
        assert sorted(at_hand.place[at_hand.label == 1].tolist()) == [7, 107, 207, 307, 407, 507]


def test_what_is_carried_is_the_same_on_every_machine():
    # Written down once: a change of these numbers changes every resumed run.
    rows, label = np.arange(24, dtype=np.int64), np.array([0, 1, 2, 0, 0, -1] * 4, np.int32)
    config = StreamConfig(
        minibatch_cells=4, block_cells=2, buffer_cells=6, seed=5, balance=Balance(types=2, ring_cells=4)
    )
    assert candidates_at(rows, label, config, epoch=3, group_number=2).place.tolist() == GOLDEN


GOLDEN = [6, 7, 8, 9, 10, 11, 18, 20, 13, 19, 1, 14, 2]
