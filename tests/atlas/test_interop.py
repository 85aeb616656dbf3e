"""Our store in the hands of its peers: anndata, scanpy, annbatch read it as it is, cell by cell."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse
import zarr

from livelatent.atlas import Atlas
from livelatent.atlas.elements import quiet_anndata


@pytest.fixture(scope="module")
def counts(tiny_adatas: dict[str, anndata.AnnData], tiny_atlas: Atlas) -> np.ndarray:
    """What the sources hold, in the store's order: through each cell's identity, not through our reader."""
    dense = {name: adata.X.toarray() for name, adata in tiny_adatas.items()}
    places = zip(tiny_atlas.obs["source"], tiny_atlas.obs["source_row"], strict=True)
    return np.array([dense[str(name)][row] for name, row in places])


def test_anndata_reads_every_part(tiny_atlas: Atlas, tiny_adatas: dict, counts: np.ndarray) -> None:
    with quiet_anndata():
        adata = anndata.read_zarr(tiny_atlas.path)
    assert (adata.X.toarray() == counts).all() and adata.var_names.tolist() == tiny_atlas.genes.tolist()
    assert adata.obs.equals(tiny_atlas.obs)
    for row in (0, 100, 606):
        source = tiny_adatas[adata.obs["source"].iloc[row]].obs.iloc[adata.obs["source_row"].iloc[row]]
        assert adata.obs["age"].iloc[row] == source["age"] and adata.obs["donor"].iloc[row] == source["donor"]
    assert str(adata.uns["livelatent"]["uuid"]) == tiny_atlas.uuid


def test_anndata_reads_it_lazily(tiny_atlas: Atlas, counts: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's and anndata's own, about each other's coming releases
        lazy = anndata.experimental.read_lazy(tiny_atlas.path)
        part = lazy[100:120].to_memory()
        assert lazy.shape == (607, 300)
    assert (part.X.toarray() == counts[100:120]).all()
    assert part.obs["donor"].astype(str).tolist() == tiny_atlas.obs["donor"].iloc[100:120].astype(str).tolist()


def test_what_we_write_into_it_stays_readable(own_atlas: Atlas) -> None:
    own_atlas.labels.label([3], "new")
    own_atlas.write_labels()
    own_atlas.write_obsm("X_latent", np.arange(1214, dtype=np.float32).reshape(607, 2))
    with quiet_anndata():
        adata = anndata.read_zarr(own_atlas.path)
    assert adata.obs["livelatent_label"].iloc[3] == "new" and adata.obsm["X_latent"][606].tolist() == [1212, 1213]


@pytest.fixture
def quiet_scanpy() -> Iterator[None]:
    """Without what scanpy, umap and pandas warn about among themselves: the results are compared, not the words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    ("by", "has_umap"),
    [
        pytest.param("anndata.read_zarr", False, marks=pytest.mark.slow),  # the same code a second time
        # test_scanpy_runs_on_what_anndata_reads stays; numba compiles this for ten seconds.
        pytest.param("to_anndata", False, marks=pytest.mark.slow),
        pytest.param("anndata.read_zarr", True, marks=pytest.mark.slow),  # numba compiles it for half a minute
    ],
)
def test_scanpys_tutorial_runs_on_it_and_finds_the_types(
    tiny_atlas: Atlas, by: str, has_umap: bool, quiet_scanpy: None
) -> None:
    """Filters, QC, normalisation, genes, PCA, neighbours, Leiden, UMAP, markers; scanpy's filters come first."""
    import scanpy as sc
    from sklearn.metrics import adjusted_rand_score

    adata = anndata.read_zarr(tiny_atlas.path) if by == "anndata.read_zarr" else tiny_atlas.to_anndata()
    adata.var["mt"] = adata.var_names.isin(["GENE290", "GENE291"])
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[50], inplace=True)
    assert np.allclose(adata.obs["total_counts"], tiny_atlas.total)
    assert (adata.obs["n_genes_by_counts"] == tiny_atlas.obs["livelatent_n_genes"]).all()
    sc.pp.filter_cells(adata, min_genes=5)
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=100, batch_key="donor")
    sc.pp.pca(adata, n_comps=15)
    sc.pp.neighbors(adata, n_neighbors=15, random_state=0)
    sc.tl.leiden(adata, resolution=0.3, flavor="igraph", n_iterations=2, random_state=0)
    if has_umap:
        sc.tl.umap(adata, maxiter=20, random_state=0)
        assert adata.obsm["X_umap"].shape == (605, 2) and np.isfinite(adata.obsm["X_umap"]).all()
    known = adata.obs["cell_type"].isin(["T cell", "B cell", "monocyte", "NK cell"]).to_numpy()
    score = adjusted_rand_score(adata.obs["cell_type"][known].astype(str), adata.obs["leiden"][known])
    assert score > 0.6
    typed = adata[known].copy()
    typed.obs["cell_type"] = typed.obs["cell_type"].cat.remove_unused_categories()
    sc.tl.rank_genes_groups(typed, "cell_type", method="wilcoxon")
    # tiny_adata raises genes 25 k to 25 k + 24 in type k.
    for k, name in enumerate(["T cell", "B cell", "monocyte", "NK cell"]):
        first = sc.get.rank_genes_groups_df(typed, name)["names"][:10]
        assert sum(gene in {f"GENE{g}" for g in range(25 * k, 25 * k + 25)} for gene in first) >= 9


@pytest.mark.parametrize("flavor", ["qc", "seurat_v3"])
@pytest.mark.parametrize(
    "by",
    [
        # scipy's kernels want indices and pointers of one type; ours are u16 and i64. Once it is read by `to_anndata`,
        # or any filter of scanpy's has gone over it, they are.
        pytest.param("anndata.read_zarr", marks=pytest.mark.xfail(raises=(ValueError, TypeError), strict=True)),
        "to_anndata",
    ],
)
def test_kernels_that_want_indices_and_pointers_of_one_type(
    tiny_atlas: Atlas, by: str, flavor: str, quiet_scanpy: None
) -> None:
    import scanpy as sc

    adata = anndata.read_zarr(tiny_atlas.path) if by == "anndata.read_zarr" else tiny_atlas.to_anndata()
    if flavor == "qc":
        sc.pp.calculate_qc_metrics(adata, percent_top=[50], inplace=True)
        assert np.allclose(adata.obs["total_counts"], tiny_atlas.total)
    else:
        sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=50)
        assert adata.var["highly_variable"].sum() == 50


@pytest.mark.parametrize("shuffle", [False, True])
def test_annbatch_loads_our_cells_with_their_labels(tiny_atlas: Atlas, counts: np.ndarray, shuffle: bool) -> None:
    annbatch = pytest.importorskip("annbatch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # annbatch asks zarr for a config that zarr 3.4 has renamed
        group = zarr.open_group(tiny_atlas.path, mode="r")
        obs = tiny_atlas.obs[["cell_type", "donor", "source", "source_row"]]
        data = anndata.AnnData(X=anndata.io.sparse_dataset(group["X"]), obs=obs)
        loader = annbatch.Loader(
            batch_size=50,
            chunk_size=10,
            preload_nchunks=20,
            shuffle=shuffle,
            return_index=True,
            rng=np.random.default_rng(0),
        )
        loader.add_adata(data)
        seen = []
        for batch in loader:
            index = np.asarray(batch["index"])
            matrix = batch["X"]
            matrix = matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)
            assert (matrix == counts[index]).all()
            for name in obs.columns:
                assert batch["obs"][name].astype(str).tolist() == obs[name].iloc[index].astype(str).tolist()
            seen += index.tolist()
    assert sorted(seen) == list(range(607))
    assert (seen == list(range(607))) is not shuffle


def test_its_order_is_ours(tiny_atlas: Atlas, counts: np.ndarray) -> None:
    """Our own stream, unshuffled, delivers the rows that the peers see under the same numbers."""
    from livelatent.stream.plan import StreamConfig
    from livelatent.stream.stream import Stream

    config = StreamConfig(minibatch_cells=100, block_cells=32, buffer_cells=256, shuffle=False)
    with Stream(tiny_atlas, tiny_atlas.rows(), config) as stream:
        for minibatch in stream.minibatches(0):
            cell = minibatch.cell.numpy()
            scale = tiny_atlas.mean_total / np.maximum(tiny_atlas.total[cell], 1)
            assert np.allclose(minibatch.x.numpy(), np.log1p(counts[cell] * scale[:, None]), rtol=1e-5, atol=1e-6)
            named = [name if name in tiny_atlas.label_names else None for name in tiny_atlas.true_labels[cell]]
            codes = minibatch.label.numpy()
            assert [None if code < 0 else tiny_atlas.label_names[code] for code in codes] == named


def test_the_manifest_and_journal_are_no_stores(own_atlas: Atlas, tmp_path: Path) -> None:
    own_atlas.labels.label([0], "x")
    for path in own_atlas.path.parent.iterdir():
        if path != own_atlas.path:
            with pytest.raises((OSError, ValueError, KeyError)):
                zarr.open_group(path, mode="r")
