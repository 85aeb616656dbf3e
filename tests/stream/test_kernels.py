import itertools

import numpy as np
import pytest

from livelatent.atlas.passes import size_factor
from livelatent.stream import kernels


@pytest.mark.parametrize("counts", [np.uint16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("genes", [np.uint16, np.int32])
def test_scatter_equals_dense_numpy(counts, genes):
    rng = np.random.default_rng(3)
    dense = rng.poisson(0.7, (11, 17)).astype(counts)
    dense[4] = 0
    rows, columns = np.nonzero(dense)
    start = np.searchsorted(rows, np.arange(11))
    stop = np.searchsorted(rows, np.arange(11), side="right")
    pick = np.array([7, 0, 4, 10])  # neither sorted nor complete
    gene_map = np.full(17, -1, np.int32)
    wanted_genes = np.array([16, 2, 5, 9])
    gene_map[wanted_genes] = np.arange(4)
    scale = size_factor(dense.sum(1).astype(np.float64), 8.0)[pick]
    out = np.zeros((4, 5), np.float32)  # its last column is a gene that the store lacks
    own = (dense[rows, columns], columns.astype(genes), start[pick], stop[pick], gene_map)
    kernels.scatter_logs(*own, scale, np.arange(4), out)
    total = np.maximum(dense.sum(1, keepdims=True, dtype=np.float64), 1)
    wanted = np.log1p(dense * 8.0 / total)[pick][:, wanted_genes]
    np.testing.assert_allclose(out[:, :4], wanted, rtol=1e-6)
    assert (out[:, 4] == 0).all()
    assert (out[2] == 0).all()


COUNTS = ["uint16", "uint32", "float32", "float64"]


def cells(kind, genes="uint16"):
    """Nine cells of 17 genes, one of them empty, as stored; and dense."""
    rng = np.random.default_rng(5)
    dense = rng.poisson(0.7, (9, 17)).astype(kind)
    dense[3] = 0
    # Around the counts whose logarithm is taken once, and a count that single precision rounds.
    dense[5, 2:8] = [14, 15, 16, 17, 60_000, 0]
    if kind != "uint16":
        dense[6, 4] = 16_777_217
    rows, columns = np.nonzero(dense)
    bounds = np.searchsorted(rows, np.arange(10))
    return dense, dense[rows, columns], columns.astype(genes), bounds


MAP = np.full(17, -1, np.int32)
MAP[[16, 2, 5, 9, 0]] = [3, 0, 4, 1, 2]
PICK = np.array([7, 3, 0, 5, 6, 7])
"""One twice, one empty, in no order."""


@pytest.mark.parametrize("kind", COUNTS)
def test_scattered_counts_are_those_stored(kind):
    dense, data, indices, bounds = cells(kind)
    out = np.zeros((8, 5), np.float32)
    kernels.scatter_counts(data, indices, bounds[PICK], bounds[PICK + 1], MAP, np.array([0, 5, 1, 7, 3, 4]), out)
    wanted = np.zeros((8, 5))
    wanted[np.ix_([0, 5, 1, 7, 3, 4], MAP[MAP >= 0])] = dense[PICK][:, MAP >= 0]
    np.testing.assert_array_equal(out, wanted.astype(np.float32))


@pytest.mark.parametrize("kind", COUNTS)
def test_logarithms_are_right_where_they_are_taken_once_and_beyond(kind):
    dense, data, indices, bounds = cells(kind)
    scale = np.array([0.001, 0.0, 3.7, 12.0, 1.0, 250.5])
    for at in (np.arange(6), np.array([3, 0, 5, 1, 2, 4])):
        out = np.zeros((6, 17), np.float32)
        kernels.scatter_logs(
            data, indices, bounds[PICK], bounds[PICK + 1], np.arange(17, dtype=np.int32), scale, at, out
        )
        wanted = np.log1p(dense[PICK].astype(np.float64) * scale[:, None])
        np.testing.assert_allclose(out[at], wanted, rtol=3e-7)
        # A row of stored values gives the same bits.
        flat = dense[PICK].ravel().astype(np.float32)
        kernels.log_rows(np.arange(0, 7 * 17, 17), flat, scale)
        np.testing.assert_allclose(flat.reshape(6, 17), wanted, rtol=3e-7)
        if kind == "uint16":
            assert flat.tobytes() == out[at].tobytes()


def test_numbers_that_are_no_counts_have_the_logarithm_numpy_gives():
    values = np.array([0.0, 0.5, 2.0, 2.5, 15.999, 1e-30, 1e38], np.float32)
    got = values.copy()
    kernels.log_rows(np.array([0, 0, 3, 7]), got, np.array([9.0, 0.5, 2.0]))
    wanted = np.log1p(values * np.repeat([0.5, 2.0], [3, 4]))
    np.testing.assert_allclose(got, wanted, rtol=3e-7)
    out, genes = np.zeros((3, 4), np.float32), np.array([0, 1, 2, 0, 1, 2, 3], np.uint16)
    own = (values, genes, np.array([0, 0, 3]), np.array([0, 3, 7]), np.arange(4, dtype=np.int32))
    kernels.scatter_logs(*own, np.array([9.0, 0.5, 2.0]), np.arange(3), out)
    np.testing.assert_allclose(out, [[0] * 4, [*wanted[:3], 0], wanted[3:]], rtol=3e-7)


@pytest.mark.parametrize("out_kind", ["float32", "same"])
@pytest.mark.parametrize("genes", ["uint16", "int32"])
@pytest.mark.parametrize("kind", COUNTS)
def test_gathered_cells_lie_where_they_were_sent(kind, genes, out_kind):
    dense, data, indices, bounds = cells(kind, genes)
    start, stop = bounds[PICK], bounds[PICK + 1]
    lengths = stop - start
    np.testing.assert_array_equal(
        kernels.n_wanted(indices, start, stop, MAP), np.count_nonzero(dense[PICK][:, MAP >= 0], axis=1)
    )
    for gene_map, n_kept in ((None, lengths), (MAP, kernels.n_wanted(indices, start, stop, MAP))):
        order = np.array([2, 0, 5, 1, 4, 3])
        at = np.empty(6, np.int64)
        at[order] = np.cumsum(n_kept[order]) - n_kept[order] + 2
        out_data = np.full(n_kept.sum() + 4, 9, kind if out_kind == "same" else np.float32)
        out_indices = np.full(n_kept.sum() + 4, 9, genes if out_kind == "same" else np.int32)
        kernels.gather(data, indices, start, stop, at, out_data, out_indices, gene_map)
        for cell, (first, n) in enumerate(zip(at, n_kept, strict=True)):
            own = np.zeros(17 if gene_map is None else 5)
            own[out_indices[first : first + n]] = out_data[first : first + n]
            wanted = dense[PICK[cell]]
            if gene_map is not None:
                wanted = np.zeros(5)
                wanted[MAP[MAP >= 0]] = dense[PICK[cell]][MAP >= 0]
            np.testing.assert_array_equal(own, wanted.astype(out_data.dtype))
        # Nothing is written in front or behind.
        assert out_data[[0, 1, -2, -1]].tolist() == out_indices[[0, 1, -2, -1]].tolist() == [9] * 4


@pytest.mark.parametrize("columns", [[], [4], [1, 2, 3], [3, 1, 2], [2, 1], [5, 4, 3, 2, 1, 0]])
def test_rows_are_sorted_each_by_itself(columns):
    rows = [[7, 9], columns, [], [0, 6]]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.array([column for row in rows for column in row], np.int32)
    data = indices.astype(np.float32) * 10
    assert kernels.ascend(indptr, indices) == (columns == sorted(columns))
    kernels.sort_columns(indptr, indices, data)
    assert [indices[a:b].tolist() for a, b in itertools.pairwise(indptr)] == [sorted(row) for row in rows]
    assert data.tolist() == (indices * 10).tolist()
    assert kernels.ascend(indptr, indices)
