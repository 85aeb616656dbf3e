"""Passes against scanpy, scikit-learn, and sums by hand."""

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, ingest, passes
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.layout import Layout
from livelatent.atlas.pca import Pca, centroid_distances, mean_distances, pca


def log_counts(atlas: Atlas, rows: np.ndarray, mean_total: float) -> np.ndarray:
    """x of METHODS 1, the slow way."""
    counts = anndata.read_zarr(atlas.path).X[rows].toarray().astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    return np.log1p(np.where(total > 0, counts * mean_total / np.where(total > 0, total, 1), 0))


def scanpy_genes(x: np.ndarray, n_genes: int, batch: np.ndarray | None = None) -> list[int]:
    import scanpy as sc

    adata = anndata.AnnData(sparse.csr_matrix(x))
    if batch is not None:
        adata.obs["batch"] = pd.Categorical(batch.astype(str))
    key = None if batch is None else "batch"
    with warnings.catch_warnings():
        # scanpy 1.12 uses options and keywords that pandas 3.1 is about to remove.
        warnings.simplefilter("ignore", DeprecationWarning)
        sc.pp.highly_variable_genes(adata, n_top_genes=n_genes, flavor="cell_ranger", batch_key=key)
    return np.flatnonzero(adata.var["highly_variable"]).tolist()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks also for a tiny atlas."""
    monkeypatch.setattr(passes, "CHUNK_CELLS", 100)


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


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("n_genes", [1, 40, 200, 300, 1000])
def test_highly_variable_genes_are_scanpys(tiny_atlas: Atlas, n_genes: int) -> None:
    rows = tiny_atlas.rows("train")
    x = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)
    got = highly_variable_genes(tiny_atlas, n_genes, rows)
    assert got.tolist() == scanpy_genes(x, min(n_genes, 300))
    assert got.dtype == np.int64


@pytest.mark.usefixtures("small_chunks")
def test_highly_variable_genes_by_batch_are_scanpys(tiny_atlas: Atlas) -> None:
    rows = tiny_atlas.rows()
    x = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)
    got = highly_variable_genes(tiny_atlas, 50, rows, by_batch=True)
    assert got.tolist() == scanpy_genes(x, 50, tiny_atlas.batch)


def test_highly_variable_genes_of_pbmc3k_are_scanpys(shared_data: Path, tmp_path: Path) -> None:
    atlas = ingest(shared_data / "pbmc3k_seurat.h5ad", tmp_path / "pbmc.zarr", label="cell_type")
    x = log_counts(atlas, atlas.rows(), atlas.mean_total)
    assert highly_variable_genes(atlas, 2000).tolist() == scanpy_genes(x, 2000)


@pytest.mark.usefixtures("small_chunks")
def test_components_are_scikit_learns(tiny_atlas: Atlas) -> None:
    from sklearn.decomposition import PCA

    rows, genes = tiny_atlas.rows("train"), np.arange(0, 300, 3)
    x = log_counts(tiny_atlas, rows, tiny_atlas.mean_total)[:, genes]
    oracle = PCA(8, svd_solver="full").fit(x)
    got = pca(tiny_atlas, genes, 8, rows)
    np.testing.assert_allclose(got.variance, oracle.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(got.mean, oracle.mean_, rtol=1e-12, atol=1e-14)
    sign = np.sign((got.components * oracle.components_).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(got.components, sign * oracle.components_, atol=1e-7)
    np.testing.assert_allclose(got.transform(x), sign.T * oracle.transform(x), atol=1e-6)
    assert (got.components.max(axis=1) > -got.components.min(axis=1)).all()


@pytest.mark.parametrize("n_components", [0, 101])
def test_components_that_cannot_be_are_refused(tiny_atlas: Atlas, n_components: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.100"):
        pca(tiny_atlas, np.arange(100), n_components)


def test_mean_distances_by_hand() -> None:
    # Batch 0 holds types A, B; batch 1 holds B, C: A and C are never seen together.
    centroid = np.array([[[0.0, 0], [3, 4], [99, 99]], [[99, 99], [0, 0], [0, 10]]])
    seen = np.array([[True, True, False], [False, True, True]])
    assert mean_distances(centroid, seen).tolist() == [[0, 0.5, 0], [0.5, 0, 1], [0, 1, 0]]


def test_mean_distances_average_over_batches_that_hold_both() -> None:
    centroid = np.array([[[0.0], [2], [4]], [[0], [6], [50]]])
    seen = np.array([[True, True, True], [True, True, False]])
    # A-B: (2 + 6) / 2 = 4, A-C: 4, B-C: 2; the largest is 4.
    assert mean_distances(centroid, seen).tolist() == [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]


def test_types_with_one_centroid_are_still_seen_together() -> None:
    distance = mean_distances(np.array([[[1.0], [1.0], [5.0]]]), np.ones((1, 3), bool))
    assert 0 < distance[0, 1] < 1e-300 and distance[0, 2] == 1


@pytest.fixture
def hand_atlas(tmp_path: Path) -> Atlas:
    """Three types x two batches with one gene per axis; A is in batch 0 only, C in batch 1 only."""
    cells = [("A", "0", [9, 0, 0, 1]), ("A", "0", [7, 2, 0, 1]), ("B", "0", [0, 9, 0, 1])]
    cells += [("B", "1", [0, 8, 1, 1]), ("C", "1", [0, 0, 9, 1]), ("C", "1", [1, 0, 8, 1]), ("?", "1", [5, 5, 0, 0])]
    obs = pd.DataFrame({"type": [c[0] for c in cells], "lab": [c[1] for c in cells]})
    obs.index = pd.Index([f"c{i}" for i in range(len(cells))], dtype=object)
    counts = sparse.csr_matrix(np.array([c[2] for c in cells], dtype=np.float32))
    anndata.AnnData(counts, obs=obs).write_h5ad(tmp_path / "hand.h5ad")
    return ingest(
        tmp_path / "hand.h5ad", tmp_path / "hand.zarr", label="type", batch="lab", unlabelled=["?"], layout=Layout()
    )


def test_centroid_distances_by_hand(hand_atlas: Atlas) -> None:
    identity = Pca(np.eye(4), np.zeros(4), np.ones(4))
    got = centroid_distances(hand_atlas, identity, np.arange(4))
    # Every total is 10 and mean_total is 10, so x = log1p(count).
    assert hand_atlas.mean_total == 10

    def centroid(*cells: list[int]) -> np.ndarray:
        return np.mean(np.log1p(np.array(cells, float)), axis=0)

    a, b0 = centroid([9, 0, 0, 1], [7, 2, 0, 1]), centroid([0, 9, 0, 1])
    b1, c = centroid([0, 8, 1, 1]), centroid([0, 0, 9, 1], [1, 0, 8, 1])
    ab, bc = np.linalg.norm(a - b0), np.linalg.norm(b1 - c)
    top = max(ab, bc)
    oracle = [[0, ab / top, 0], [ab / top, 0, bc / top], [0, bc / top, 0]]
    np.testing.assert_allclose(got, oracle, rtol=1e-12)
