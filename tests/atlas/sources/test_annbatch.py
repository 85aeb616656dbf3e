"""annbatch's collections: every dataset is a source, together they hold every cell."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import reading
from livelatent.atlas.sources import fingerprint_of, open_sources

annbatch = pytest.importorskip("annbatch")
pytestmark = pytest.mark.filterwarnings("ignore")  # of annbatch, not ours


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> tuple[Path, anndata.AnnData]:
    folder = tmp_path_factory.mktemp("annbatch")
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(1, (50, 7)).astype(np.float32)),
        obs=pd.DataFrame({"n": range(50)}, index=[f"c{i}" for i in range(50)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(7)]),
    )
    adata.write_h5ad(folder / "a.h5ad")
    made = annbatch.DatasetCollection(zarr.open_group(folder / "c.zarr", mode="w"))
    made.add_adatas([folder / "a.h5ad"], dataset_size=20, shuffle_chunk_size=5)
    return folder / "c.zarr", adata


def test_a_collection_holds_every_cell_once(collection, tmp_path):
    path, adata = collection
    sources = open_sources(path)
    assert [source.name for source in sources] == [f"c.zarr/dataset_{i}" for i in range(len(sources))]
    assert len(sources) > 1 and {source.kind for source in sources} == {"annbatch"}
    names = np.concatenate([source.obs.names() for source in sources])
    assert sorted(names) == sorted(adata.obs_names)
    got = sparse.vstack([reading.whole(source.counts, 7, tmp_path / source.name) for source in sources])
    assert (got.toarray() == adata[names].X.toarray()).all()
    rows = np.concatenate([source.obs.column("n") for source in sources])
    assert (rows == adata.obs.loc[names, "n"]).all()
    assert all(fingerprint_of(source.path) == source.fingerprint for source in sources)


def test_datasets_come_in_the_order_of_their_numbers(collection, tmp_path):
    _, adata = collection
    for i in (10, 9, 2):
        adata[:i].copy().write_h5ad(tmp_path / f"dataset_{i}.h5ad")
    assert [source.n_cells for source in open_sources(tmp_path)] == [2, 9, 10]
