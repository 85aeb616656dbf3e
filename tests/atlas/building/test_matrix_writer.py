from pathlib import Path

import numpy as np
import pytest
import zarr
from anndata.io import read_elem
from scipy import sparse

from livelatent.atlas.building.matrix_writer import Cut, MatrixWriter

KIND, CUT = np.dtype("uint16"), Cut(chunk=50, shard=350)


@pytest.fixture
def matrix() -> sparse.csr_matrix:
    """90 rows of uneven length, the first, the last and a run in between empty."""
    dense = np.random.default_rng(0).poisson(0.6, (90, 30)).astype(np.uint16)
    dense[[0, 40, 41, 42, 89]] = 0
    dense[7] = 3
    return sparse.csr_matrix(dense)


def writer(root: zarr.Group, **options) -> MatrixWriter:
    return MatrixWriter(root, "X", n_genes=30, value_type=KIND, cut=CUT, **options)


def append(target: MatrixWriter, rows: sparse.csr_matrix, **options) -> None:
    lengths, starts = np.diff(rows.indptr), rows.indptr[:-1].astype(np.int64)
    target.append(rows.data, rows.indices.astype(np.uint16), lengths, starts, **options)


def stored(root: zarr.Group) -> np.ndarray:
    return read_elem(root["X"]).toarray()


@pytest.mark.parametrize("step", [1, 7, 90])
def test_rows_appended_in_any_pieces_are_read_back(tmp_path: Path, matrix, step: int) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    target = writer(root)
    for start in range(0, 90, step):
        append(target, matrix[start : start + step])
    target.finish()
    assert (stored(root) == matrix.toarray()).all()
    assert len(list((tmp_path / "a.zarr/X/data/c").iterdir())) == -(-matrix.nnz // CUT.shard)


@pytest.mark.parametrize("n_shards", [0, 1, 2])
def test_a_writer_goes_on_behind_its_whole_shards(tmp_path: Path, matrix, n_shards: int) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    first = writer(root)
    append(first, matrix[:80])  # killed here: shards behind `done` may be on disk already
    again = writer(root, done=n_shards * CUT.shard)
    append(again, matrix, n_written=n_shards * CUT.shard)
    again.finish()
    assert (stored(root) == matrix.toarray()).all()


def test_every_shard_is_said_once_it_is_on_disk(tmp_path: Path, matrix) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    said = []

    def after(number: int, done: int) -> None:
        assert (tmp_path / f"a.zarr/X/data/c/{number}").is_file()
        said.append((number, done))

    target = writer(root, after_shard=after)
    append(target, matrix)
    target.finish()
    assert said == list(enumerate([*range(350, matrix.nnz, 350), matrix.nnz]))
