"""Highly variable genes against scanpy."""

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.hvg import highly_variable_genes
from livelatent.atlas.hvg_seurat import best_median_rank
from livelatent.atlas.layout import KEPT
from livelatent.errors import CountsError
from oracles import log_counts


def scanpy_genes(
    x: np.ndarray | sparse.csr_matrix, n_genes: int, batch: np.ndarray | None = None, flavor: str = "cell_ranger"
) -> list[int]:
    import scanpy as sc

    adata = anndata.AnnData(sparse.csr_matrix(x, dtype=np.float64))
    if batch is not None:
        adata.obs["batch"] = pd.Categorical(batch.astype(str))
    key = None if batch is None else "batch"
    with warnings.catch_warnings():
        # scanpy 1.12 uses options and keywords that pandas 3.1 is about to remove.
        warnings.simplefilter("ignore", DeprecationWarning)
        sc.pp.highly_variable_genes(adata, n_top_genes=n_genes, flavor=flavor, batch_key=key)
    return np.flatnonzero(adata.var["highly_variable"]).tolist()


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
@pytest.mark.parametrize("n_genes", [1, 40, 200])
def test_genes_of_seurat_v3_are_scanpys(tiny_atlas: Atlas, n_genes: int) -> None:
    rows = tiny_atlas.rows("train")
    counts = anndata.read_zarr(tiny_atlas.path).X[rows]
    got = highly_variable_genes(tiny_atlas, n_genes, rows, flavor="seurat_v3")
    assert got.tolist() == scanpy_genes(counts, n_genes, flavor="seurat_v3")


@pytest.mark.usefixtures("small_chunks")
def test_genes_of_seurat_v3_by_batch_are_ranked_by_scanpys_variances_of_each_batch(tiny_atlas: Atlas) -> None:
    """Batch by batch: with `batch_key`, scanpy rounds its means, and its loess jumps with their last bit."""
    import scanpy as sc

    parts, ranks = anndata.read_zarr(tiny_atlas.path).X.astype(np.float64), []
    for batch in range(3):
        adata = anndata.AnnData(parts[tiny_atlas.batch == batch])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = sc.pp.highly_variable_genes(adata, n_top_genes=60, flavor="seurat_v3", inplace=False)
        ranks.append(found["highly_variable_rank"].to_numpy())
    # By hand: the median of the ranks it has, then in how many batches it has one.
    table = []
    for gene in range(300):
        own = [rank[gene] for rank in ranks if rank[gene] < 60]
        if own:
            table.append((np.median(own), -len(own), gene))
    want = sorted(gene for _, _, gene in sorted(table)[:60])
    assert highly_variable_genes(tiny_atlas, 60, flavor="seurat_v3", by_batch=True).tolist() == want
    # And all but a few of what it selects with `batch_key` itself.
    whole = scanpy_genes(parts, 60, tiny_atlas.batch, flavor="seurat_v3")
    assert len(set(want) & set(whole)) >= 58


def test_genes_of_seurat_v3_of_pbmc3k_are_scanpys(shared_data: Path, tmp_path: Path) -> None:
    atlas = ingest(shared_data / "pbmc3k_seurat.h5ad", tmp_path / "pbmc.zarr", label="cell_type")
    counts = atlas.read_rows(0, atlas.n_cells)
    got = highly_variable_genes(atlas, 2000, flavor="seurat_v3")
    assert got.tolist() == scanpy_genes(counts, 2000, flavor="seurat_v3")


def test_of_genes_with_one_median_rank_the_one_chosen_by_more_batches_comes_first() -> None:
    # Gene 0 is second twice, gene 1 once; gene 2 is first once; gene 3 is never among the first two.
    spread = np.array([[2.0, 1.0, 3.0, 0.0], [3.0, 2.0, 0.0, 1.0], [2.0, 1.0, 0.5, 3.0]])
    # Ranks below 2: gene 0 (1, 0, 1), gene 1 (-, 1, -), gene 2 (0, -, -), gene 3 (-, -, 0).
    assert best_median_rank(spread, 2).tolist() == [2, 3]
    assert best_median_rank(spread, 4)[:1].tolist() == [0]


def test_a_trend_that_cannot_be_fitted_names_its_batch(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(1, (40, 4)).astype(np.float32)
    obs = pd.DataFrame({"lab": ["x"] * 36 + ["tiny"] * 4}, index=[f"c{i}" for i in range(40)])
    anndata.AnnData(sparse.csr_matrix(counts), obs=obs).write_h5ad(tmp_path / "few.h5ad")
    atlas = ingest(tmp_path / "few.h5ad", tmp_path / "few.zarr", batch="lab")
    with pytest.raises(CountsError, match="batch 'tiny'"):
        highly_variable_genes(atlas, 2, flavor="seurat_v3", by_batch=True)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("flavor", ["cell_ranger", "seurat_v3"])
def test_genes_and_cells_that_qc_masks_have_no_part_in_it(own_atlas: Atlas, flavor: str) -> None:
    kept, genes = np.arange(607) % 4 > 0, np.arange(300) % 3 > 0
    own_atlas.obs[KEPT] = kept
    own_atlas.kept_genes = genes
    adata = anndata.read_zarr(own_atlas.path)
    x = log_counts(own_atlas, np.flatnonzero(kept), own_atlas.mean_total) if flavor == "cell_ranger" else adata.X[kept]
    want = np.flatnonzero(genes)[scanpy_genes(x[:, genes], 40, flavor=flavor)]
    assert highly_variable_genes(own_atlas, 40, flavor=flavor).tolist() == want.tolist()
