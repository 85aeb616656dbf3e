"""Sources of `.h5ad`: what anndata wrote is what is read, whatever its form, its types and its age."""

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import reading
from livelatent.atlas.sources import fingerprint_of, open_sources
from livelatent.errors import CountsError, GeneMismatchError, SourceError

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = ["uint8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64", "bool"]


def counts(n_cells: int, n_genes: int, density: float, seed: int, kind: str = "float32") -> np.ndarray:
    """Counts with an empty cell and an all-zero gene."""
    rng = np.random.default_rng(seed)
    found = rng.integers(1, 200, (n_cells, n_genes)) * (rng.random((n_cells, n_genes)) < density)
    found[n_cells // 2] = 0
    found[:, n_genes // 3] = 0
    return found.astype(kind)


def adata_of(values: object, **obs: object) -> anndata.AnnData:
    n_cells, n_genes = values.shape
    return anndata.AnnData(
        values,
        obs=pd.DataFrame(obs, index=pd.Index([f"c{i}" for i in range(n_cells)], dtype=object)),
        var=pd.DataFrame(
            {"gene_ids": [f"ENSG{i:05}" for i in range(n_genes)]},
            index=pd.Index([f"g{i}" for i in range(n_genes)], dtype=object),
        ),
    )


@pytest.fixture
def rich(tmp_path: Path) -> tuple[Path, anndata.AnnData]:
    """A file with a bit of everything."""
    dense = counts(23, 11, 0.4, 0)
    adata = adata_of(
        sparse.csr_matrix(dense),
        kind=pd.Categorical([*"abc", None] * 5 + list("abc"), categories=list("cbaz"), ordered=True),
        plate=pd.Categorical(np.arange(23) % 3),
        note=[f"cell {i} é" for i in range(23)],
        age=np.arange(23),
        score=np.linspace(-1, 1, 23).astype(np.float32),
        flag=np.arange(23) % 2 == 0,
        maybe=pd.array([1, None] * 11 + [2**40], dtype="Int64"),
        perhaps=pd.array([True, None] * 11 + [False], dtype="boolean"),
    )
    adata.raw = adata_of(sparse.csr_matrix(np.hstack([dense, dense * 2])))
    adata.layers["half"] = sparse.csc_matrix(dense / 2)
    adata.layers["full"] = dense
    adata.obsm["X_pca"] = np.random.default_rng(1).normal(size=(23, 4))
    adata.obsm["table"] = pd.DataFrame({"a": range(23)}, index=adata.obs_names)
    adata.obsm["sparse"] = sparse.csr_matrix(np.eye(23))
    adata.varm["PCs"] = np.ones((11, 4))
    adata.obsp["near"] = sparse.csr_matrix(np.eye(23))
    adata.uns["neighbors"] = {"k": 3}
    adata.write_h5ad(tmp_path / "rich.h5ad")
    return tmp_path / "rich.h5ad", adata


def test_every_cell_and_column_is_as_it_was_written(rich, tmp_path):
    path, adata = rich
    (source,) = open_sources(path)
    reading.assert_equal(source, adata, tmp_path / "s")
    assert source.obs.column("kind").cat.categories.tolist() == list("cbaz") and source.obs.column("kind").cat.ordered
    assert source.obs.column("maybe").dtype == "Int64" and source.obs.column("flag").dtype == bool
    assert (source.name, source.kind, source.n_cells) == ("rich.h5ad", "h5ad", 23)
    assert source.genes == tuple(adata.var_names) and source.var["gene_ids"].tolist() == adata.var["gene_ids"].tolist()
    (rows,) = [np.vstack([part for _, part in source.obsm["X_pca"].chunks(n)]) for n in (10,)]
    assert (rows == adata.obsm["X_pca"]).all() and source.obsm["X_pca"].n_columns == 4


def test_layers_of_the_same_shape_are_offered_and_all_else_is_named(rich, tmp_path):
    path, adata = rich
    (source,) = open_sources(path)
    assert set(source.layers) == {"half", "full"}
    for name, layer in source.layers.items():
        wanted = adata.layers[name]
        wanted = wanted.toarray() if sparse.issparse(wanted) else wanted
        assert (reading.whole(layer, 11, tmp_path / "s", 7).toarray() == wanted).all()
    assert set(source.left) == {
        "obsm/table (dataframe)",
        "obsm/sparse (csr_matrix)",
        "raw/X",
        "varm/PCs",
        "obsp/near",
        "uns/neighbors",
    }
    assert source.elsewhere == '"raw", "full", "half"'


@pytest.mark.parametrize("where", ["raw", "half", "full"])
def test_counts_may_lie_in_raw_or_a_layer(rich, tmp_path, where):
    path, adata = rich
    wanted = adata.raw.X if where == "raw" else adata.layers[where]
    (source,) = open_sources(path, counts=where)
    reading.assert_equal(source, adata, tmp_path / "s", wanted)
    if where == "raw":
        assert not source.layers and len(source.genes) == 22
        assert "layers/half (its genes are var's, the counts' are raw's)" in source.left


def test_layers_go_with_raw_where_its_genes_are_the_same(tmp_path):
    adata = adata_of(sparse.csr_matrix(counts(9, 5, 0.5, 0)))
    adata.layers["spliced"] = adata.X * 2
    adata.raw = adata.copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert set(open_sources(tmp_path / "a.h5ad", counts="raw")[0].layers) == {"spliced"}


@FEW
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 12)),
    density=st.sampled_from([0.0, 0.2, 1.0]),
    kind=st.sampled_from(KINDS),
    form=st.sampled_from(["csr", "csc", "dense"]),
    index=st.sampled_from(["int32", "int64", "uint16", "uint8"]),
    packed=st.sampled_from([None, "gzip", "lzf"]),
    max_elements=st.integers(1, 60),
    first=st.integers(0, 29),
    seed=st.integers(0, 99),
)
def test_chunks_of_any_size_hold_the_matrix(
    tmp_path, shape, density, kind, form, index, packed, max_elements, first, seed
):
    dense = counts(*shape, density, seed, kind)
    path = tmp_path / "m.h5ad"
    adata_of(np.zeros(shape)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        if form == "dense":
            data = file.create_dataset("X", data=dense, compression=packed)
            data.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        else:
            csr = (sparse.csr_matrix if form == "csr" else sparse.csc_matrix)(dense.astype("float64"))
            group = file.create_group("X")
            group.attrs.update({"encoding-type": f"{form}_matrix", "encoding-version": "0.1.0", "shape": shape})
            group.create_dataset("data", data=csr.data.astype(kind), compression=packed, chunks=True, maxshape=(None,))
            group.create_dataset("indices", data=csr.indices.astype(index), compression=packed, maxshape=(None,))
            group.create_dataset("indptr", data=csr.indptr)
    first = min(first, shape[0] - 1)
    (source,) = open_sources(path)
    got = reading.whole(source.counts, shape[1], tmp_path / "s", max_elements, first)
    assert (got.toarray() == dense[first:].astype("float64")).all()
    assert source.counts.n_elements == (dense.size if form == "dense" else np.count_nonzero(dense))
    assert not (tmp_path / "s").exists()


def test_genes_are_named_by_a_column_when_asked(rich, tmp_path):
    path, adata = rich
    (source,) = open_sources(path, gene_names="gene_ids")
    assert source.genes == tuple(adata.var["gene_ids"])
    assert source.var["index_original"].tolist() == adata.var_names.tolist()
    with pytest.raises(GeneMismatchError, match=r"rich\.h5ad has no column 'symbol' in `var`.*It has: gene_ids"):
        open_sources(path, gene_names="symbol")


def test_genes_may_be_named_twice_but_not_be_nameless(tmp_path):
    adata = adata_of(counts(4, 3, 0.5, 0))
    adata.var_names = ["CD3E", "LYZ", "LYZ"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert open_sources(tmp_path / "a.h5ad")[0].genes == ("CD3E", "LYZ", "LYZ")
    adata.var_names = ["CD3E", "", "LYZ"]
    adata.write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(
        GeneMismatchError, match=r"b\.h5ad: 1 genes have no name in the index of `var` \(first: row 1\)"
    ):
        open_sources(tmp_path / "b.h5ad")


def test_tables_of_anndata_0_6_are_read(tmp_path):
    """Records of bytes, categories in `uns`, the sparse matrix marked as h5sparse did."""
    path, csr = tmp_path / "old.h5ad", sparse.csr_matrix(counts(6, 4, 0.5, 0))
    obs = np.array(
        [(b"c%d" % i, i % 2, i, 0.5 * i) for i in range(6)],
        dtype=[("index", "S4"), ("kind", "i1"), ("n", "i8"), ("x", "f4")],
    )
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": np.array([6, 4])})
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(csr, part)
        file["obs"] = obs
        file["var"] = np.array([(f"g{i}".encode(),) for i in range(4)], dtype=[("index", "S4")])
        file["uns/kind_categories"] = np.array([b"B cell", b"T cell"])
        file["raw.X"] = csr.toarray() * 2
        file["raw.var"] = file["var"][:]
    (source,) = open_sources(path)
    assert source.obs.names().tolist() == [f"c{i}" for i in range(6)] and source.genes == ("g0", "g1", "g2", "g3")
    assert source.obs.column("kind").tolist() == ["B cell", "T cell"] * 3
    assert source.obs.column("n").tolist() == list(range(6)) and source.obs.column("x")[5] == 2.5
    assert (reading.whole(source.counts, 4, tmp_path / "s").toarray() == csr.toarray()).all()
    (raw,) = open_sources(path, counts="raw")
    assert (reading.whole(raw.counts, 4, tmp_path / "s").toarray() == 2 * csr.toarray()).all()


def test_categories_of_anndata_0_7_are_read(tmp_path):
    path = tmp_path / "old.h5ad"
    adata_of(counts(6, 4, 0.5, 0), kind=pd.Categorical(["x"] * 6)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["obs/kind"]
        obs = file["obs"]
        obs.attrs["encoding-version"] = "0.1.0"
        kinds = obs.create_group("__categories").create_dataset("kind", data=np.array(["NK", "T"], dtype=object))
        kinds.attrs["ordered"] = False
        codes = obs.create_dataset("kind", data=np.array([0, 1, 1, -1, 0, 1], np.int8))
        codes.attrs["categories"] = kinds.ref
    column = open_sources(path)[0].obs.column("kind")
    assert column.astype(object).where(column.notna(), None).tolist() == ["NK", "T", "T", None, "NK", "T"]


def test_nothing_stays_open_and_the_fingerprint_tells_a_change(rich):
    path, _ = rich
    (source,) = open_sources(path)
    assert fingerprint_of(path) == source.fingerprint
    next(iter(source.counts.chunks(5, scratch=path.parent / "s")))
    with h5py.File(path, "r+") as file:  # HDF5 would refuse if a reader held it
        file["X/data"][3] += 1
    assert fingerprint_of(path) != source.fingerprint


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: f["X/data"].resize((3,)), SourceError, "3 values"),
        (lambda f: f["X/indptr"].write_direct(np.full(10, 7, np.int32)), SourceError, "pointers of `X` are damaged"),
        (lambda f: f["X"].attrs.modify("shape", [10, 4]), SourceError, "for 10 x 4 it has 10 pointers"),
        (lambda f: f["X"].attrs.modify("shape", [9, 5]), SourceError, "X` is 9 x 5, but obs has 9 rows and var 4"),
        (lambda f: f["X"].attrs.modify("encoding-type", "coo_matrix"), SourceError, "is of the kind 'coo_matrix'"),
        (lambda f: f.__delitem__("X"), SourceError, "no matrix `X`. It has: none"),
        (lambda f: f.__delitem__("obs"), SourceError, "no group `obs`"),
        (lambda f: f["obs"].attrs.modify("_index", "../var/_index"), SourceError, "no place"),
        (lambda f: f["obs"].attrs.__setitem__("column-order", ["../../X/data"]), SourceError, "can't hold"),
        (lambda f: f.__setitem__("layers/a", h5py.ExternalLink("/etc/passwd", "x")), SourceError, "another file"),
        (lambda f: (f.__delitem__("X"), f.create_dataset("X", (9, 4), "c8")), CountsError, "holds complex64"),
    ],
)
def test_what_is_damaged_is_refused_by_name(tmp_path, change, error, words):
    path = tmp_path / "bad.h5ad"
    adata_of(sparse.csr_matrix(counts(9, 4, 0.5, 0))).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(error, match=words) as caught:
        (source,) = open_sources(path)
        reading.whole(source.counts, 4, tmp_path / "s")
    assert str(path) in str(caught.value)


def test_a_column_that_can_not_be_carried_is_left_with_the_reason(tmp_path):
    path = tmp_path / "a.h5ad"
    adata_of(counts(5, 3, 0.5, 0), age=range(5), sex=list("abcde")).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["obs/age"], file["obs/sex"]
        file["obs/age"] = np.arange(4)
        file["obs/sex"] = np.ones(5, complex)
    (source,) = open_sources(path)
    assert source.obs.columns == ()
    assert source.left[:2] == ("obs/age (4 values for 5 rows)", "obs/sex (of complex128)")


def test_filters_that_are_plugins_are_not_loaded(tmp_path):
    path = tmp_path / "a.h5ad"
    adata_of(counts(5, 3, 0.5, 0)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((5, 3))
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (1,))
        file.create_group("layers2")
        space = h5py.h5s.create_simple((5, 3))
        h5py.h5d.create(file.id, b"layers2/a", h5py.h5t.NATIVE_INT32, space, plan)
    with pytest.raises(SourceError, match=r'filter 32015 .* plugin.*compression="gzip"'):
        open_sources(path)
