import dataclasses
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
import torch
import zarr

from livelatent.atlas.foreign import open_foreign
from livelatent.errors import GeneMismatchError, StoreError
from livelatent.simulated.simulate import simulate
from livelatent.stream import slots
from livelatent.stream.balance import Balance
from livelatent.stream.plan import SMALL_BLOCK_CELLS, StreamConfig, plan_epoch
from livelatent.stream.read import group_spec, read_group
from livelatent.stream.slots import Slots
from livelatent.stream.stream import Stream
from livelatent.stream.together import Together
from streamed import LARGEST, STREAMS_OWN, bits, held, planned_cells, stream_threads
from streamed import SMALL as UNEVEN
from streamed import dense as dense_of

SMALL = StreamConfig(minibatch_cells=50, block_cells=16, buffer_cells=120, seed=3)


def dense(atlas, rows, genes=slice(None)):
    counts = atlas.read_cells(np.sort(rows)).toarray()[np.argsort(np.argsort(rows))].astype(np.float64)
    total = atlas.total[rows]
    scale = np.where(total > 0, atlas.mean_total / np.where(total > 0, total, 1), 0)
    return np.log1p(counts * scale[:, None])[:, genes]


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("x", "label", "batch", "cell", "total"))


def test_every_minibatch_holds_the_cells_its_plan_names(tiny_atlas):
    rows = tiny_atlas.rows("train")
    wanted = np.concatenate([group.rows(rows)[group.order()] for group in plan_epoch(rows, SMALL, epoch=2)])
    with Stream(tiny_atlas, rows, SMALL) as stream:
        got = list(stream.minibatches(epoch=2))
    assert [len(m.cell) for m in got[:-1]] == [50] * (len(got) - 1)
    assert len(got) == stream.n_steps
    np.testing.assert_array_equal(np.concatenate([m.cell for m in got]), wanted)
    for m in got:
        cell = m.cell.numpy()
        np.testing.assert_allclose(m.x, dense(tiny_atlas, cell), rtol=1e-5)
        np.testing.assert_array_equal(m.label, tiny_atlas.label[cell])
        np.testing.assert_array_equal(m.batch, tiny_atlas.batch[cell])
        np.testing.assert_allclose(m.total, tiny_atlas.total[cell])
        assert torch.isfinite(m.x).all()


def test_the_empty_cell_and_the_silent_gene_come_as_zeros(tiny_atlas):
    empty = np.flatnonzero(tiny_atlas.total == 0)
    assert len(empty) > 0
    with Stream(tiny_atlas, empty, SMALL) as stream:
        (minibatch,) = stream.minibatches(0)
    assert (minibatch.x == 0).all()


@pytest.mark.parametrize("step", [0, 1, 4, 8, 9])
@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_an_epoch_taken_up_at_a_step_goes_on_the_same(tiny_atlas, step, ahead):
    rows = np.arange(0, tiny_atlas.n_cells, dtype=np.int64)[::3]
    rows = np.union1d(rows, np.arange(100, 400))
    with Stream(tiny_atlas, rows, SMALL) as stream:
        whole = list(stream.minibatches(1))
    config = StreamConfig(minibatch_cells=50, block_cells=16, buffer_cells=120, seed=3, groups_ahead=ahead)
    with Stream(tiny_atlas, rows, config) as stream:
        rest = list(stream.minibatches(1, first_step=step))
    assert len(rest) == max(len(whole) - step, 0)
    assert all(same(a, b) for a, b in zip(whole[step:], rest, strict=True))


def test_rows_that_fit_one_buffer_are_the_same_in_every_epoch_but_their_order(tiny_atlas):
    rows = tiny_atlas.rows("validation")
    with Stream(tiny_atlas, rows, StreamConfig(minibatch_cells=7)) as stream:
        epochs = [np.concatenate([m.cell for m in stream.minibatches(epoch)]) for epoch in range(3)]
    assert all(sorted(cells) == rows.tolist() for cells in epochs)
    assert len({tuple(cells) for cells in epochs}) == 3


def test_genes_come_in_the_order_asked_and_missing_ones_as_zero(tiny_atlas):
    names = [tiny_atlas.genes[40], "ELSEWHERE1", tiny_atlas.genes[3], tiny_atlas.genes[77]]
    rows = np.arange(20)
    with Stream(tiny_atlas, rows, StreamConfig(shuffle=False), genes=names) as stream:
        (minibatch,) = stream.minibatches(0)
    assert stream.missing == ("ELSEWHERE1",)
    assert stream.missing_share == 0.25
    np.testing.assert_allclose(minibatch.x[:, [0, 2, 3]], dense(tiny_atlas, rows, [40, 3, 77]), rtol=1e-5)
    assert (minibatch.x[:, 1] == 0).all()


def test_a_query_is_scaled_by_the_mean_total_it_is_given(tiny_atlas):
    rows = np.arange(20)
    with Stream(tiny_atlas, rows, StreamConfig(shuffle=False), mean_total=2 * tiny_atlas.mean_total) as stream:
        (minibatch,) = stream.minibatches(0)
    np.testing.assert_allclose(
        np.expm1(minibatch.x.numpy()), 2 * np.expm1(dense(tiny_atlas, rows)), rtol=1e-4, atol=1e-6
    )


def test_a_query_of_other_genes_is_refused(tiny_atlas):
    names = [f"ELSEWHERE{i}" for i in range(4)] + tiny_atlas.genes[:3].tolist()
    with pytest.raises(
        GeneMismatchError, match=r"4 of the model's 7 genes are missing .*ELSEWHERE0.*genes=model\.genes"
    ):
        Stream(tiny_atlas, np.arange(3), genes=names)
    with pytest.raises(GeneMismatchError, match="twice"):
        Stream(tiny_atlas, np.arange(3), genes=[tiny_atlas.genes[0]] * 2)


def test_no_rows_are_no_minibatches(tiny_atlas):
    with Stream(tiny_atlas, np.empty(0, np.int64)) as stream:
        assert stream.n_steps == 0
        assert list(stream.minibatches(0)) == []


def test_a_global_dask_setting_changes_nothing(tiny_atlas):
    rows = tiny_atlas.rows("train")
    with Stream(tiny_atlas, rows, SMALL) as stream:
        wanted = list(stream.minibatches(0))

    def refuse(*_, **__):
        raise AssertionError("the stream named no scheduler")

    with dask.config.set(scheduler=refuse), Stream(tiny_atlas, rows, SMALL) as stream:
        got = list(stream.minibatches(0))
    assert all(same(a, b) for a, b in zip(wanted, got, strict=True))


def test_a_group_spec_survives_pickling(tiny_atlas):
    together = Together([tiny_atlas], block_cells=16)
    spec = group_spec(np.array([1, 2, 30, 47, 48, 300]), 16, together)
    assert spec.parts[0].stretches == ((1, 3), (30, 31), (47, 49), (300, 301))
    with ThreadPoolExecutor(2) as pool:
        here, there = (
            read_group(one, together, Slots(10**6, 1), pool) for one in (spec, pickle.loads(pickle.dumps(spec)))
        )
    for name in ("rows", "start", "stop"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    np.testing.assert_array_equal(here.parts[0].indices, there.parts[0].indices)
    np.testing.assert_array_equal(here.parts[0].data, there.parts[0].data)


def test_close_stops_the_threads(tiny_atlas):
    def threads():
        return {thread.name for thread in threading.enumerate() if thread.name.startswith(STREAMS_OWN)}

    before = threads()
    stream = Stream(tiny_atlas, tiny_atlas.rows(), SMALL)
    minibatches = stream.minibatches(0)
    next(minibatches)
    assert threads() > before
    stream.close()
    assert threads() == before


def test_a_damaged_shard_reaches_the_consumer_with_file_and_rows(own_atlas):
    rows = own_atlas.rows()
    own_atlas.csr()
    shard = sorted((own_atlas.path / "X" / "data" / "c").iterdir(), key=lambda path: int(path.name))[-1]
    content = bytearray(shard.read_bytes())
    content[: len(content) // 2] = b"\x00" * (len(content) // 2)
    shard.write_bytes(bytes(content))
    with (
        Stream(own_atlas, rows, SMALL) as stream,
        pytest.raises(StoreError, match=r"tiny\.zarr: rows \d+ to \d+ of X/data"),
    ):
        list(stream.minibatches(0))


def test_a_gene_number_outside_the_store_never_reaches_a_kernel(own_atlas):
    row = 123
    place = int(own_atlas.matrix().indptr[row])
    indices = zarr.open_array(own_atlas.path / "X" / "indices", mode="r+")
    indices[place] = own_atlas.n_genes
    with (
        Stream(own_atlas, own_atlas.rows(), SMALL) as stream,
        pytest.raises(StoreError, match=rf"rows 1\d\d to 1\d\d of .*gene index outside 0\.\.{own_atlas.n_genes - 1}"),
    ):
        list(stream.minibatches(0))


MANY = [f"GENE{g}" for g in (36, 3, 50, 0, 17, 5, 99, 2, 30, 30_000, 12)]
"""In no order, three of which no atlas has."""


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("genes", [None, MANY], ids=["own genes", "other genes"])
@pytest.mark.parametrize("values", ["log1p", "counts"])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", LARGEST)
def test_minibatches_hold_what_anndata_reads(uneven, kind, is_sparse, values, genes, shuffle):
    atlas = uneven(kind)
    assert atlas.matrix().data_type == kind
    # Whole blocks, blocks with holes, and cells that lie alone.
    rows = np.union1d(np.arange(0, 211, 3), np.arange(48, 131))
    config = dataclasses.replace(UNEVEN, shuffle=shuffle)
    with Stream(atlas, rows, config, genes=genes, values=values, sparse=is_sparse) as stream:
        for epoch in (0, 1):
            got = list(stream.minibatches(epoch))
            cells = np.concatenate([m.cell for m in got])
            np.testing.assert_array_equal(cells, planned_cells(rows, config, epoch) if shuffle else rows)
            assert [m.n_cells for m in got] == [23] * (len(rows) // 23) + [len(rows) % 23]
            for m in got:
                wanted = held(atlas).x(m.cell, genes, values, atlas.mean_total)
                if values == "counts":
                    np.testing.assert_array_equal(dense_of(m), wanted.astype(np.float32))
                else:
                    np.testing.assert_allclose(dense_of(m), wanted, rtol=1e-6)
                np.testing.assert_array_equal(m.label, atlas.label[m.cell])
                np.testing.assert_array_equal(m.batch, atlas.batch[m.cell])
                np.testing.assert_allclose(m.total, held(atlas).counts.to_numpy()[m.cell].sum(axis=1))


def test_a_sparse_minibatch_holds_no_more_than_is_stored(uneven):
    atlas = uneven("uint16")
    for genes in (None, MANY):
        with Stream(atlas, None, UNEVEN, genes=genes, sparse=True) as stream:
            for m in stream.minibatches(0):
                assert m.x.values().numel() == np.count_nonzero(held(atlas).x(m.cell, genes, "counts"))


def test_a_file_that_nobody_shuffled_is_read_in_small_blocks(tiny_atlas, tmp_path):
    source = simulate(tmp_path / "other.h5ad", 300, 40, n_types=3, seed=2)
    foreign = open_foreign(source, label="cell_type", progress=False)
    assert "not shuffled" in repr(foreign)
    assert Stream(foreign).config.block_cells == SMALL_BLOCK_CELLS
    assert Stream(tiny_atlas).config == StreamConfig()
    assert Stream(foreign, config=StreamConfig(block_cells=100)).config.block_cells == 100


# Memory that is lent


def kept_forms(minibatch):
    """What somebody may keep of a minibatch, and copies of it."""
    x = minibatch.x
    if x.layout == torch.strided:
        kept = [x[3:, 1:], x.numpy()[::2], x.T, memoryview(x.numpy())]
    else:
        kept = [x.values()[1:], x.col_indices().numpy(), x.crow_indices(), x.values().numpy()[:2]]
    return kept, [np.asarray(one).copy() for one in kept]


@pytest.mark.parametrize("balance", [None, Balance(types=2, ring_cells=14)], ids=["natural", "balanced"])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_what_is_kept_of_a_minibatch_is_never_written_over(uneven, is_sparse, balance):
    config = dataclasses.replace(UNEVEN, minibatch_cells=12, balance=balance)
    with Stream(uneven("uint16"), None, config, sparse=is_sparse) as stream:
        kept = []
        for epoch in range(2):
            for number, m in enumerate(stream.minibatches(epoch)):
                # Of some all, of some a part, of some nothing.
                forms, copies = kept_forms(m)
                kept += [*zip(forms, copies, strict=True)][number % 3 :] if number % 4 else []
        for _ in stream.minibatches(2):
            pass
    assert len(kept) > 50
    for form, copy in kept:
        np.testing.assert_array_equal(np.asarray(form), copy)


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_what_the_consumer_writes_reaches_no_other_minibatch(uneven, is_sparse):
    config = dataclasses.replace(UNEVEN, buffer_cells=1000)
    with Stream(uneven("uint16"), None, config, sparse=is_sparse, obs=["age"], obsm=["X_ref"]) as stream:
        wanted = [bits(m) for m in stream.minibatches(0)]
        for m in stream.minibatches(1):
            for tensor in (m.x.values() if is_sparse else m.x, m.label, m.total, m.obs["age"], m.obsm["X_ref"]):
                tensor.fill_(7)
        assert [bits(m) for m in stream.minibatches(0)] == wanted
    np.testing.assert_array_equal(stream.atlas.obs["age"], held(stream.atlas).obs["age"])


@pytest.mark.parametrize("balance", [None, Balance(types=2, ring_cells=14)], ids=["natural", "balanced"])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_epochs_are_made_in_the_memory_of_the_first(uneven, monkeypatch, is_sparse, balance):
    made = []
    monkeypatch.setattr(slots, "_ordinary", lambda n_bytes: made.append(n_bytes) or np.empty(n_bytes, np.uint8))
    # What does not fit in its slot is made beside it.
    monkeypatch.setattr(Slots, "take", lambda self, take=Slots.take: used.append(self) or take(self))
    used = []
    with Stream(uneven("uint16"), None, dataclasses.replace(UNEVEN, balance=balance), sparse=is_sparse) as stream:
        for epoch in range(12):
            for _ in stream.minibatches(epoch):
                pass
        n_groups = sum(len(plan_epoch(stream.rows, stream.config, epoch)) for epoch in range(12))
        assert used.count(stream._group_slots) == n_groups
        n_portions = used.count(stream._assembly._slots)
        assert 12 * -(-stream.n_steps // stream._portion) <= n_portions <= 12 * stream.n_steps
        # As many as live at once, whatever the number of epochs.
        slots_of_stream = (stream._group_slots, stream._assembly._slots, stream._carried_slots)
        assert 0 < len(made) <= sum(own._n_kept for own in slots_of_stream)


# An epoch that knows of the next


@pytest.mark.parametrize("balance", [None, Balance(types=2, ring_cells=14)], ids=["natural", "balanced"])
@pytest.mark.parametrize("groups_ahead", [0, 1, 2])
def test_epochs_that_go_on_are_the_same_and_read_nothing_twice(uneven, groups_ahead, balance):
    config = dataclasses.replace(UNEVEN, groups_ahead=groups_ahead, balance=balance)
    with Stream(uneven("uint16"), None, config) as alone:
        wanted = [[bits(m) for m in alone.minibatches(epoch)] for epoch in range(4)]
    with Stream(uneven("uint16"), None, config) as stream:
        for epoch in range(4):
            assert [bits(m) for m in stream.minibatches(epoch, goes_on=epoch < 3)] == wanted[epoch]
            assert stream_threads() == []
            # The first groups of the next epoch have been read by then.
            assert (stream._course._begun is not None) == (epoch < 3)
        assert stream.health().bytes_read == alone.health().bytes_read


def test_another_epoch_than_the_one_that_was_begun_is_as_it_was(uneven):
    with Stream(uneven("uint16"), None, UNEVEN) as stream:
        wanted = [[bits(m) for m in stream.minibatches(epoch)] for epoch in range(4)]
        for epoch, first_step in ((0, 0), (2, 0), (3, 2), (1, 0)):
            assert [bits(m) for m in stream.minibatches(epoch, first_step, goes_on=True)] == wanted[epoch][first_step:]
        stream.close()
        assert stream._course._begun is None
        assert [bits(m) for m in stream.minibatches(2)] == wanted[2]


# Several at once


def test_two_epochs_of_one_stream_at_once_are_those_one_after_the_other(uneven):
    for buffer_cells in (56, 1000):
        with Stream(uneven("uint16"), None, dataclasses.replace(UNEVEN, buffer_cells=buffer_cells)) as stream:
            wanted = [[bits(m) for m in stream.minibatches(epoch)] for epoch in range(2)]
        with Stream(uneven("uint16"), None, dataclasses.replace(UNEVEN, buffer_cells=buffer_cells)) as stream:
            got = [[bits(m) for m in both] for both in zip(stream.minibatches(0), stream.minibatches(1), strict=True)]
        assert [list(epoch) for epoch in zip(*got, strict=True)] == wanted
