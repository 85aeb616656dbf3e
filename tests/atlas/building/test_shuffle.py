from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from livelatent.atlas.building.scratch import Scratch
from livelatent.atlas.building.shuffle import Shuffle
from livelatent.atlas.sources.source import Csr

N_GENES = 40


def counts(n_cells: int = 200) -> sparse.csr_matrix:
    matrix = sparse.random(n_cells, N_GENES, density=0.3, format="csr", random_state=1)
    matrix.data = np.random.default_rng(0).integers(1, 100, matrix.nnz).astype(np.float64)
    matrix.data[-50:] += 70_000  # the last chunks need a wider type than the first
    return matrix


def add(scratch: Scratch, matrix: sparse.csr_matrix, start: int, stop: int) -> None:
    rows = matrix[start:stop]
    kind = np.dtype("uint32" if rows.data.max() > 65_535 else "uint16")
    lengths = np.diff(rows.indptr).astype(np.int32)
    everywhere = np.arange(N_GENES, dtype=np.int32)
    scratch.add(Csr(rows.data, rows.indices, rows.indptr.astype(np.int64)), everywhere, lengths, kind)


def in_new_order(scratch: Scratch, shuffle: Shuffle) -> np.ndarray:
    scratch.flush()
    rows = []
    for bucket in range(shuffle.n_buckets):
        lengths = scratch.lengths[shuffle.members(bucket)]
        values, indices = scratch.bucket(bucket, scratch.value_type())
        pointers = np.concatenate([[0], np.cumsum(lengths)])
        part = sparse.csr_matrix((values, indices.astype(np.int32), pointers), shape=(lengths.size, N_GENES))
        rows.append(part.toarray()[shuffle.permutation(bucket)])
    return np.concatenate(rows)


@settings(deadline=None, max_examples=40)
@given(n_cells=st.integers(1, 500), n_buckets=st.integers(1, 30), seed=st.integers(0, 2**40))
def test_an_order_holds_every_row_once(n_cells: int, n_buckets: int, seed: int) -> None:
    shuffle = Shuffle(n_cells, n_buckets, (seed,))
    assert sorted(shuffle.order()) == list(range(n_cells))
    assert shuffle.order().tolist() == Shuffle(n_cells, n_buckets, (seed,)).order().tolist()


def test_every_place_is_as_likely_for_every_row() -> None:
    places = np.array([np.argsort(Shuffle(30, 4, (seed,)).order()) for seed in range(2000)])
    mean = places.mean(axis=0)
    # A place is uniform on 0..29: mean 14.5, standard error 8.66 / sqrt(2000).
    assert np.abs(mean - 14.5).max() < 5 * 8.66 / np.sqrt(2000)
    assert np.abs(np.corrcoef(places.T)[np.triu_indices(30, 1)] + 1 / 29).max() < 0.12


@pytest.mark.parametrize("chunk", [1, 13, 200])
def test_scattered_rows_come_back_in_the_new_order(tmp_path: Path, chunk: int) -> None:
    matrix, shuffle = counts(), Shuffle(200, 7, (3,))
    scratch = Scratch(tmp_path / "s", shuffle.bucket_of, 7, N_GENES, {})
    for start in range(0, 200, chunk):
        add(scratch, matrix, start, min(start + chunk, 200))
    assert scratch.value_type() == np.uint32 and scratch.n_elements == matrix.nnz
    assert (in_new_order(scratch, shuffle) == matrix.toarray()[shuffle.order()]).all()
    scratch.close()


@pytest.mark.parametrize("n_saved", [0, 26, 199])
def test_a_scatter_goes_on_where_it_was_saved(tmp_path: Path, n_saved: int) -> None:
    matrix, shuffle = counts(), Shuffle(200, 7, (3,))
    scratch = Scratch(tmp_path / "s", shuffle.bucket_of, 7, N_GENES, {})
    saved = {}
    for start in range(0, 120 + n_saved // 3):
        if start == n_saved:
            saved = scratch.save()
        add(scratch, matrix, start, start + 1)
    scratch.close()  # rows behind `saved` are in the files, and must be forgotten
    again = Scratch(tmp_path / "s", shuffle.bucket_of, 7, N_GENES, saved)
    assert again.n_rows == saved.get("rows", 0)
    for start in range(again.n_rows, 200):
        add(again, matrix, start, start + 1)
    assert (in_new_order(again, shuffle) == matrix.toarray()[shuffle.order()]).all()
    again.close()
