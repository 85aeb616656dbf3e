"""Passes against sums by hand."""

import numpy as np
import pytest

from livelatent.atlas import Atlas, passes
from oracles import log_counts


def test_log_matrix_is_the_formula_and_zero_for_an_empty_cell(tiny_atlas: Atlas) -> None:
    rows = np.arange(607)
    x = passes.log_matrix(tiny_atlas.read_cells(rows), tiny_atlas.total, 500.0)
    assert x.dtype == np.float64
    np.testing.assert_allclose(x.toarray(), log_counts(tiny_atlas, rows, 500.0), rtol=1e-6)
    assert x[np.flatnonzero(tiny_atlas.total == 0)].nnz == 0 and (tiny_atlas.total == 0).sum() == 2


@pytest.mark.parametrize("chunk_cells", [1, 50, 607, 10_000])
def test_a_map_visits_each_chosen_cell_once_in_order(tiny_atlas: Atlas, chunk_cells: int) -> None:
    rows = np.arange(1, 607, 3 if chunk_cells > 1 else 40)
    seen = list(passes.map_cells(lambda counts, own: (own, counts.sum()), tiny_atlas, rows, chunk_cells=chunk_cells))
    assert np.concatenate([own for own, _ in seen]).tolist() == rows.tolist()
    assert sum(total for _, total in seen) == tiny_atlas.total[rows].sum()
    assert all(own.size <= chunk_cells for own, _ in seen)


def test_a_map_says_how_many_cells_are_done(tiny_atlas: Atlas) -> None:
    seen: list[tuple[int, int, str]] = []
    rows = np.arange(7, 307)
    results = passes.map_cells(
        lambda counts, own: own.size,
        tiny_atlas,
        rows,
        chunk_cells=130,
        progress=lambda *at: seen.append(at),
        what="counting",
    )
    assert list(results) == [130, 130, 40]
    assert seen == [(130, 300, "counting"), (260, 300, "counting"), (300, 300, "counting")]


def test_a_map_never_picks_a_global_scheduler_up(tiny_atlas: Atlas) -> None:
    import dask

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the global scheduler was used")

    with dask.config.set(scheduler=forbidden):
        assert sum(passes.map_cells(lambda counts, rows: rows.size, tiny_atlas)) == 607


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("mean_total", [None, 1000.0])
def test_moments_are_those_of_the_matrix_in_memory(tiny_atlas: Atlas, mean_total: float | None) -> None:
    rows = tiny_atlas.rows("train")
    x = log_counts(tiny_atlas, rows, mean_total or tiny_atlas.mean_total)
    moments = passes.gene_moments(tiny_atlas, rows, mean_total=mean_total)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, x.var(axis=0, ddof=1), rtol=1e-10, atol=1e-15)
    assert moments.n_seen.tolist() == (x > 0).sum(axis=0).tolist()
