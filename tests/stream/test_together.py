import dataclasses

import numpy as np
import pytest

from livelatent.errors import GeneMismatchError, ResumeError
from livelatent.stream.plan import StreamConfig, plan_epoch
from livelatent.stream.stream import Stream
from livelatent.stream.together import Together
from streamed import SMALL, bits, dense, held


@pytest.fixture
def pair(uneven, other):
    """211 cells of u16, 90 of float32."""
    return uneven("uint16"), other


@pytest.fixture
def chosen(pair):
    """Rows of each: with holes, and neither from its first nor to its last."""
    return np.union1d(np.arange(2, 200, 3), np.arange(48, 131)), np.union1d(np.arange(5, 60), [70, 71, 88])


def named(codes, names):
    return [names[code] if code >= 0 else None for code in codes.tolist()]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("values", ["log1p", "counts"])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_every_cell_of_both_comes_once_with_what_is_its_own(pair, chosen, order, values, is_sparse):
    atlases, rows = [pair[k] for k in order], [chosen[k] for k in order]
    shared = [name for name in atlases[0].genes if name in set(atlases[1].genes)]
    assert len(shared) == 27
    with Stream(atlases, rows, SMALL, values=values, sparse=is_sparse) as stream:
        assert stream.genes.tolist() == shared
        assert stream.missing == ()
        for epoch in (0, 1):
            got = list(stream.minibatches(epoch))
            assert [m.n_cells for m in got[:-1]] == [23] * (stream.n_steps - 1)
            assert any(len(set(m.atlas.tolist())) == 2 for m in got)
            for number, wanted in enumerate(rows):
                cells = np.concatenate([m.cell[m.atlas == number] for m in got])
                assert sorted(cells) == wanted.tolist()
                assert cells.tolist() != sorted(cells)
            for m in got:
                x = dense(m)
                for number, atlas in enumerate(atlases):
                    mine = (m.atlas == number).numpy()
                    cell = m.cell.numpy()[mine]
                    wanted = held(atlas).x(cell, shared, values, stream.mean_total)
                    np.testing.assert_allclose(x[mine], wanted, rtol=1e-6)
                    total = held(atlas).counts.to_numpy()[cell].sum(axis=1)
                    np.testing.assert_allclose(m.total.numpy()[mine], total, rtol=1e-6)
                    assert named(m.label.numpy()[mine], stream.label_names) == held(atlas).column("cell_type", cell)
                    donor = held(atlas).column("donor", cell) if atlas.batch_column else [None] * len(cell)
                    assert named(m.batch.numpy()[mine], stream.batch_names) == donor


def test_names_are_those_of_both(pair):
    together = Together(pair, block_cells=8)
    # "A monocyte" comes before "B" and pushes every code of the first atlas.
    assert together.label_names == ("A monocyte", "B", "NK", "T")
    assert together.batch_names == ("d1", "d10", "d2")
    cells = [atlas.n_cells for atlas in pair]
    means = [held(atlas).counts.to_numpy().sum(axis=1).mean() for atlas in pair]
    assert together.mean_total == pytest.approx(np.average(means, weights=cells), rel=1e-6)


def test_without_a_batch_column_anywhere_all_cells_are_of_one_batch(other):
    together = Together([other, other], block_cells=8)
    assert together.batch_names == ()
    assert all((codes == 0).all() for codes in together.batch)


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_genes_that_one_lacks_are_zero_there(pair, is_sparse):
    # 10 to 36 are in both, those below in the first only, those above in the second; 5 is silent.
    genes = [f"GENE{g}" for g in (40, 36, 5, 20, 10, 49, 2, 31, 15)]
    with Stream(pair, None, SMALL, genes=genes, sparse=is_sparse) as stream:
        assert set(stream.missing) == {"GENE40", "GENE49", "GENE5", "GENE2"}
        seen = np.zeros((2, len(genes)))
        for m in stream.minibatches(0):
            for number, atlas in enumerate(pair):
                mine = (m.atlas == number).numpy()
                wanted = held(atlas).x(m.cell.numpy()[mine], genes, mean_total=stream.mean_total)
                np.testing.assert_allclose(dense(m)[mine], wanted, rtol=1e-6)
                seen[number] += dense(m)[mine].sum(axis=0)
    assert (seen == 0).tolist() == [
        [name not in set(atlas.genes) or name == "GENE5" for name in genes] for atlas in pair
    ]


def test_genes_of_which_one_has_too_few_are_refused_with_its_name(pair):
    genes = [f"GENE{g}" for g in range(12)]
    with pytest.raises(GeneMismatchError, match=r"other\.zarr: 10 of the model's 12 genes are missing"):
        Stream(pair, genes=genes)


def test_atlases_without_a_gene_in_common_are_refused(pair, copied):
    elsewhere = copied(pair[1])
    elsewhere.genes = np.array([f"ENSG{name}" for name in elsewhere.genes], dtype=object)
    with pytest.raises(GeneMismatchError, match=r"uint16\.zarr, .*other\.zarr share no gene.*gene_names="):
        Stream([pair[0], elsewhere])


def test_masks_rows_and_none_choose_the_same(pair, chosen):
    masks = [np.isin(np.arange(atlas.n_cells), rows) for atlas, rows in zip(pair, chosen, strict=True)]
    by_rows, by_mask, mixed = (
        Stream(pair, rows, SMALL).rows for rows in (chosen, masks, [chosen[0], masks[1].tolist()])
    )
    np.testing.assert_array_equal(by_rows, by_mask)
    np.testing.assert_array_equal(by_rows, mixed)
    np.testing.assert_array_equal(by_rows, np.concatenate([chosen[0], chosen[1] + 216]))  # 27 blocks of 8
    every = Stream(pair, [np.ones(211, bool), np.ones(90, bool)], SMALL)
    np.testing.assert_array_equal(Stream(pair, None, SMALL).rows, every.rows)
    (alone,) = (Stream(pair[0], rows, SMALL).rows for rows in [[chosen[0]]])
    np.testing.assert_array_equal(alone, chosen[0])


def test_rows_of_as_many_atlases_are_wanted(pair, chosen):
    with pytest.raises(ValueError, match="rows of each of 2 atlases were wanted; got 1"):
        Stream(pair, [chosen[0]])
    with pytest.raises(ValueError, match="at least one atlas"):
        Stream([])


@pytest.mark.parametrize("block_cells", [1, 7, 8, 211, 500])
def test_no_block_holds_cells_of_two(pair, block_cells):
    together = Together(pair, block_cells)
    rows = together.rows(None)
    config = StreamConfig(block_cells=block_cells, buffer_cells=max(block_cells, 40))
    for group in plan_epoch(rows, config, 3):
        for start, stop in group.spans:
            assert len(set(together.atlas_of(rows[start:stop]))) == 1
    assert together.atlas_of(rows).tolist() == [0] * 211 + [1] * 90


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_an_epoch_over_both_goes_on_at_any_step(pair, chosen, is_sparse, world):
    columns = {"obs": ["stage", "age"], "obsm": ["X_ref"], "sparse": is_sparse, "rank": world - 1, "world": world}
    with Stream(pair, chosen, SMALL, **columns) as stream:
        whole = [bits(m) for m in stream.minibatches(2)]
        position = stream.position(2, 3)
    for step in range(len(whole) + 1):
        with Stream(pair, chosen, dataclasses.replace(SMALL, groups_ahead=step % 3), **columns) as stream:
            stream.check(position)
            assert [bits(m) for m in stream.minibatches(2, step)] == whole[step:]
    with pytest.raises(ResumeError, match="other cells"):
        Stream(pair[::-1], chosen[::-1], SMALL).check(position)


def test_two_ranks_share_both_atlases(pair, chosen):
    found, n_steps = [], set()
    for rank in range(2):
        with Stream(pair, chosen, SMALL, rank=rank, world=2) as stream:
            for m in stream.minibatches(1):
                found += zip(m.atlas.tolist(), m.cell.tolist(), strict=True)
            n_steps.add(stream.n_steps)
    assert sorted(found) == [(k, row) for k in range(2) for row in chosen[k].tolist()]
    assert len(n_steps) == 1
