"""An AnnData in memory is a source like its file."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import reading
from livelatent.atlas import ingest
from livelatent.atlas.sources import open_sources
from livelatent.errors import CountsError, SourceError


@pytest.fixture
def adata() -> anndata.AnnData:
    counts = np.random.default_rng(0).poisson(0.8, (19, 7)).astype(np.float32)
    obs = pd.DataFrame({"kind": pd.Categorical(["T", None] * 9 + ["B"]), "age": range(19)})
    found = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=obs.set_index(pd.Index([f"c{i}" for i in range(19)])),
        var=pd.DataFrame({"gene_ids": [f"E{i}" for i in range(7)]}, index=[f"g{i}" for i in range(7)]),
    )
    found.raw = found.copy()
    found.layers["half"] = found.X.tocsc() / 2
    found.obsm["X_pca"] = np.ones((19, 3))
    found.uns["x"] = 1
    return found


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
@pytest.mark.parametrize("max_elements", [1, 10, 1000])
def test_it_is_read_as_its_file_is(adata, tmp_path, form, max_elements):
    adata.X = {"csr": adata.X, "csc": adata.X.tocsc(), "dense": adata.X.toarray()}[form]
    adata.write_h5ad(tmp_path / "a.h5ad")
    (mine,), (file,) = open_sources(adata, name="a.h5ad"), open_sources(tmp_path / "a.h5ad")
    reading.assert_equal(mine, adata, tmp_path / "s")
    for first in (0, 5):
        got, wanted = (reading.whole(s.counts, 7, tmp_path / "s", max_elements, first) for s in (mine, file))
        assert (got.toarray() == wanted.toarray()).all()
    assert (mine.genes, mine.left, mine.elsewhere) == (file.genes, ("uns/x",), '"half", "raw"')
    assert set(mine.layers) == set(file.layers) and set(mine.obsm) == set(file.obsm)
    assert open_sources(adata, gene_names="gene_ids", counts="raw")[0].genes[0] == "E0"


def other_counts(adata: anndata.AnnData) -> anndata.AnnData:
    other = adata.copy()
    other.X.data[3] += 1
    return other


def test_its_fingerprint_tells_other_counts_and_other_cells(adata):
    (one,) = open_sources(adata)
    assert one.name.startswith("memory-") and open_sources(other_counts(adata))[0].name == one.name
    assert open_sources(adata.copy())[0].fingerprint == one.fingerprint
    assert open_sources(other_counts(adata))[0].fingerprint != one.fingerprint
    (turned,) = open_sources(adata[::-1].copy())
    assert turned.fingerprint != one.fingerprint and turned.name != one.name


def test_what_is_not_in_memory_is_refused(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(SourceError, match=r"memory-\w+: `X` is not in memory .*to_memory"):
        open_sources(anndata.read_h5ad(tmp_path / "a.h5ad", backed="r"))
    with pytest.raises(SourceError, match=r"no matrix `layers/counts`\. It has: \"X\", \"half\", \"raw\""):
        open_sources(adata, counts="counts")
    adata.layers["odd"] = adata.X.astype(complex)
    with pytest.raises(CountsError, match="complex128"):
        open_sources(adata, counts="odd")
    assert open_sources(adata)[0].left[0].startswith("layers/odd (holds complex128")


def test_it_is_ingested_alone_or_beside_a_file(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    other = adata[4:].copy()
    for given in (adata, [tmp_path / "a.h5ad", other]):
        atlas = ingest(given, tmp_path / "t.zarr", label="kind", overwrite=True, progress=False)
        for part in [adata] if given is adata else [adata, other]:
            in_memory = given is adata or part is other
            mine = (atlas.obs["source"] == (open_sources(part)[0].name if in_memory else "a.h5ad")).to_numpy()
            rows = atlas.obs["source_row"].to_numpy()[mine]
            assert sorted(rows) == list(range(part.n_obs))
            assert (atlas.read_cells(np.flatnonzero(mine)).toarray() == part.X.toarray()[rows]).all()
    with pytest.raises(SourceError, match="the same"):
        ingest([adata, adata], tmp_path / "u.zarr", progress=False)


def test_any_changed_count_or_layer_is_noticed() -> None:
    counts = sparse.random(2_000, 300, density=0.3, format="csr", random_state=0, dtype=np.float64)
    counts.data = np.ceil(counts.data * 9)
    adata = anndata.AnnData(counts, layers={"more": counts.copy()})
    before = open_sources(adata)[0].fingerprint
    assert open_sources(adata)[0].fingerprint == before
    for matrix in (adata.X, adata.layers["more"]):
        matrix.data[matrix.nnz // 3] += 1
        assert open_sources(adata)[0].fingerprint != before
        matrix.data[matrix.nnz // 3] -= 1
    assert open_sources(adata)[0].fingerprint == before
