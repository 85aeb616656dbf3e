import dataclasses
import itertools
import shutil

import numpy as np
import pytest

from livelatent.errors import LabelError, ResumeError
from livelatent.stream.balance import Balance
from livelatent.stream.balanced_epoch import balanced_epoch
from livelatent.stream.stream import Stream
from streamed import SMALL, bits, dense, held

BALANCED = dataclasses.replace(SMALL, minibatch_cells=22, balance=Balance(types=2, ring_cells=14))
ROWS = np.union1d(np.arange(0, 211, 3), np.arange(48, 171))
COLUMNS = {"obs": ["stage", "score"], "obsm": ["X_ref"]}


def drawn(stream, epoch):
    """Rows of all atlases that each minibatch of an epoch draws, by index work alone."""
    label, batch = (
        stream._together.per_cell(stream.rows, codes) for codes in (stream._together.label, stream._together.batch)
    )
    parts = balanced_epoch(stream.rows, label, batch, stream.config, epoch, rank=stream.rank, world=stream.world)
    return [stream.rows[part.candidates.place[part.draws.step(step)]] for part in parts for step in range(part.n_steps)]


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_minibatches_hold_the_cells_that_are_drawn(uneven, is_sparse, world):
    atlas = uneven("uint32")
    for rank in range(world):
        with Stream(atlas, ROWS, BALANCED, sparse=is_sparse, rank=rank, world=world, **COLUMNS) as stream:
            for epoch in range(3):
                got = list(stream.minibatches(epoch))
                wanted = drawn(stream, epoch)
                assert [sorted(m.cell.tolist()) for m in got] == [sorted(cells.tolist()) for cells in wanted]
                for m in got:
                    assert m.n_cells == 22
                    np.testing.assert_allclose(dense(m), held(atlas).x(m.cell, mean_total=atlas.mean_total), rtol=1e-6)
                    np.testing.assert_array_equal(m.label, atlas.label[m.cell])
                    np.testing.assert_array_equal(m.batch, atlas.batch[m.cell])
                    np.testing.assert_array_equal(m.obsm["X_ref"], held(atlas).obsm["X_ref"][m.cell])
                    score = held(atlas).obs["score"].to_numpy(np.float32)
                    np.testing.assert_array_equal(m.obs["score"], score[m.cell])


def test_cells_come_from_groups_before_too(uneven):
    with Stream(uneven("uint16"), ROWS, BALANCED) as stream:
        label, batch = stream._order_facts
        carried = [
            len(part.candidates.carried)
            for part in balanced_epoch(stream.rows, label, batch, BALANCED, 1)
            if np.any(part.draws.position >= part.candidates.group.n_cells)
        ]
    # Else nothing here would see a carried cell.
    assert len(carried) > 2 and min(carried) > 0


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_both_of_two_atlases_are_drawn_from(uneven, other, is_sparse):
    atlases = [uneven("uint16"), other]
    with Stream(atlases, None, BALANCED, sparse=is_sparse) as stream:
        assert [len(part) for part in stream._together.label] == [211, 90]
        labels = set()
        for epoch in range(2):
            for m, cells in zip(stream.minibatches(epoch), drawn(stream, epoch), strict=True):
                assert sorted((m.cell + 216 * m.atlas).tolist()) == sorted(cells.tolist())
                for number, atlas in enumerate(atlases):
                    mine = (m.atlas == number).numpy()
                    cell = m.cell.numpy()[mine]
                    wanted = held(atlas).x(cell, stream.genes, mean_total=stream.mean_total)
                    np.testing.assert_allclose(dense(m)[mine], wanted, rtol=1e-6)
                    names = [stream.label_names[code] for code in m.label.numpy()[mine]]
                    assert names == held(atlas).column("cell_type", cell)
                    labels.update(zip(itertools.repeat(number), names, strict=False))
    assert {(0, "NK"), (1, "A monocyte")} < labels


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_another_stream_goes_on_at_any_step_as_if_it_had_gone_straight_on(uneven, is_sparse, world):
    atlas, rank = uneven("uint16"), world - 1
    of_rank = {"rank": rank, "world": world, "sparse": is_sparse, **COLUMNS}
    with Stream(atlas, ROWS, BALANCED, **of_rank) as stream:
        # One stream over all epochs: each carries on from the one before.
        straight = [[bits(m) for m in stream.minibatches(epoch)] for epoch in range(3)]
    assert straight[0] != straight[1] and len(straight[0]) == -(-len(stream.rows) // world // 22)
    n_steps = len(straight[0])
    for epoch, step in [(0, 0), (0, 3), *((1, step) for step in range(n_steps + 1)), (2, n_steps - 2)]:
        config = dataclasses.replace(BALANCED, groups_ahead=step % 3)
        with Stream(atlas, ROWS, config, **of_rank) as resumed:
            resumed.check(stream.position(epoch, step))
            assert [bits(m) for m in resumed.minibatches(epoch, step)] == straight[epoch][step:]
            if step == 3:
                assert [bits(m) for m in resumed.minibatches(epoch + 1)] == straight[epoch + 1]


def test_an_epoch_that_was_left_is_followed_by_the_next_and_taken_up_again(uneven):
    with Stream(uneven("uint16"), ROWS, BALANCED) as stream:
        wanted = [[bits(m) for m in Stream(uneven("uint16"), ROWS, BALANCED).minibatches(e)] for e in range(2)]
        for step, m in enumerate(stream.minibatches(0)):
            assert bits(m) == wanted[0][step]
            if step == 3:
                break
        assert [bits(m) for m in stream.minibatches(1)] == wanted[1]
        assert [bits(m) for m in stream.minibatches(0, 4)] == wanted[0][4:]


def test_epochs_may_come_in_any_order(uneven):
    atlas = uneven("uint16")
    wanted = {epoch: [bits(m) for m in Stream(atlas, ROWS, BALANCED).minibatches(epoch)] for epoch in (0, 1, 2, 5)}
    with Stream(atlas, ROWS, BALANCED) as stream:
        for epoch in (0, 2, 2, 5, 1, 2, 0, 1):
            assert [bits(m) for m in stream.minibatches(epoch)] == wanted[epoch]


@pytest.mark.parametrize("groups_ahead", [0, 1, 2])
def test_groups_that_no_minibatch_begins_in_are_carried_on_from(uneven, groups_ahead):
    # Groups of one or two blocks, minibatches of three and a half: the last ones of an epoch may be nobody's.
    config = dataclasses.replace(
        BALANCED,
        minibatch_cells=28,
        buffer_cells=16,
        groups_ahead=groups_ahead,
        balance=Balance(types=2, ring_cells=20),
    )
    for stop in (200, 205, 211):
        rows = np.arange(stop)
        with Stream(uneven("uint16"), rows, config) as stream:
            parts = list(balanced_epoch(stream.rows, *stream._order_facts, config, 0))
            assert min(part.n_steps for part in parts) == 0
            for epoch in range(4):
                got = [m.cell.tolist() for m in stream.minibatches(epoch)]
                assert [sorted(cells) for cells in got] == [sorted(cells.tolist()) for cells in drawn(stream, epoch)]


def test_rows_that_fit_in_one_buffer_are_balanced_too(uneven):
    config = dataclasses.replace(BALANCED, buffer_cells=1000)
    atlas = uneven("uint16")
    with Stream(atlas, ROWS, config) as stream:
        for epoch in range(3):
            for m, cells in zip(stream.minibatches(epoch), drawn(stream, epoch), strict=True):
                assert m.cell.tolist() == cells.tolist()
                np.testing.assert_allclose(dense(m), held(atlas).x(m.cell, mean_total=atlas.mean_total), rtol=1e-6)


def test_cells_without_a_label_never_come(uneven):
    atlas = uneven("uint16")
    labelled = np.array([name is not None for name in held(atlas).column("cell_type", np.arange(211))])
    assert 0 < np.count_nonzero(~labelled[ROWS])
    with Stream(atlas, ROWS, BALANCED) as stream:
        assert stream.rows.tolist() == [row for row in ROWS.tolist() if labelled[row]]
        came = np.concatenate([m.cell for epoch in range(3) for m in stream.minibatches(epoch)])
    assert labelled[came].all()


def test_an_atlas_without_labels_can_not_be_balanced(uneven):
    atlas = uneven("uint16")
    with pytest.raises(LabelError, match=r"uint16\.zarr: none of the cells has a label.*leave out `balance`"):
        Stream(atlas, np.flatnonzero(atlas.label < 0), BALANCED)


def test_a_position_under_other_labels_or_batches_is_refused(uneven, copied):
    with Stream(uneven("uint16"), ROWS, BALANCED) as stream:
        position = stream.position(1, 2)
    for change in ("label", "batch"):
        changed = copied(uneven("uint16"))
        codes = getattr(changed, change).copy()
        # Two cells change places, so that the rows and how many are of each stay as they were.
        one, two = (int(ROWS[(codes[ROWS] == code) & (changed.label[ROWS] >= 0)][0]) for code in (0, 1))
        codes[[one, two]] = codes[[two, one]]
        vars(changed)[change] = codes
        if change == "batch":
            vars(changed)["_batches"] = (codes, changed.batch_names)
        with pytest.raises(ResumeError, match="its labels or its splits have changed"):
            Stream(changed, ROWS, BALANCED).check(position)
        shutil.rmtree(changed.path)


def test_the_cost_of_balance_is_by_name_and_of_what_was_delivered(uneven):
    atlas = uneven("uint16")
    with Stream(atlas, ROWS, BALANCED) as stream:
        cost = stream.balance_cost(1)
        came = np.concatenate([m.label for m in stream.minibatches(1)])
    assert cost.labels.index.tolist() == ["B", "NK", "T"]
    assert cost.labels["delivered"].tolist() == np.bincount(came).tolist()
    with pytest.raises(ValueError, match="no balance"):
        Stream(atlas, ROWS, SMALL).balance_cost()
