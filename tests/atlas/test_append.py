import json
import os
import shutil
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, append, ingest
from livelatent.atlas.layout import Layout
from livelatent.errors import GeneMismatchError, SourceError, StoreBusyError

TINY = Layout(chunk_cells=16, shard_elements=9_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_adatas) -> Path:
    """A folder with the two tiny files, with a layer and a latent, and the first one's store; their barcodes clash."""
    folder = tmp_path_factory.mktemp("made")
    for name, adata in tiny_adatas.items():
        own = adata.copy()
        own.layers["half"] = own.X * 0.5
        own.obsm["X_own"] = np.arange(own.n_obs * 3, dtype=np.float32).reshape(-1, 3)
        own.write_h5ad(folder / name)
    store([folder / name for name in tiny_adatas], folder)
    return folder


@pytest.fixture
def donors(tmp_path: Path, tiny_adatas, made: Path) -> list[Path]:
    """Copies of the files for the test itself."""
    return [shutil.copy2(made / name, tmp_path / name) for name in tiny_adatas]


def copied(made: Path, folder: Path) -> Atlas:
    shutil.copytree(made / "a.zarr", folder / "a.zarr")
    for path in made.glob("a.*.json"):
        shutil.copy(path, folder / path.name)
    return Atlas.open(folder / "a.zarr")


@pytest.fixture
def before(tmp_path: Path, made: Path) -> Atlas:
    """A copy of the first file's store, for the test itself."""
    return copied(made, tmp_path)


@pytest.fixture(scope="module")
def straight(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """The store after an append that nothing interrupted."""
    return append(copied(made, tmp_path_factory.mktemp("straight")), made / "two.h5ad")


def store(donors: list[Path], folder: Path, **options) -> Atlas:
    return ingest(donors[0], folder / "a.zarr", label="cell_type", batch="donor", layout=TINY, **options)


def test_every_cell_is_in_the_grown_store_once_and_the_earlier_rows_are_as_they_were(
    donors, before, tmp_path: Path
) -> None:
    obs, counts = before.obs.copy(), before.read_rows(0, before.n_cells)
    atlas = append(before, donors[1], seed=3)
    assert atlas.uuid == before.uuid and atlas.n_cells == 607
    assert (atlas.read_rows(0, 370) != counts).nnz == 0
    for name in obs.columns:
        assert atlas.obs[name].astype(object)[:370].tolist() == obs[name].astype(object).tolist(), name
    assert atlas.obs.index[:370].tolist() == obs.index.tolist() and atlas.obs.index.is_unique

    whole = anndata.read_zarr(tmp_path / "a.zarr")
    for number, path in enumerate(donors):
        source = anndata.read_h5ad(path)
        mine = np.flatnonzero(atlas.obs["source"].astype(str) == path.name)
        assert mine.size == source.n_obs and (number == 0 or mine.min() == 370)
        row = atlas.obs["source_row"].to_numpy()[mine]
        assert sorted(row) == list(range(source.n_obs)) and row.tolist() != sorted(row)
        assert (whole.X[mine].astype(float) != source.X[row].astype(float)).nnz == 0
        assert (whole.layers["half"][mine] != source.layers["half"][row]).nnz == 0
        assert (whole.obsm["X_own"][mine] == source.obsm["X_own"][row]).all()
        assert whole.obs["age"].to_numpy()[mine].tolist() == source.obs["age"].to_numpy()[row].tolist()
        total = np.asarray(source.X.sum(axis=1)).ravel()[row]
        assert (atlas.total[mine] == total).all()
    assert atlas.mean_total == atlas.total.mean()


def test_new_cells_are_split_among_themselves(donors, before, tmp_path: Path) -> None:
    atlas = append(before, donors[1])
    new = atlas.split[370:]
    assert [int((new == name).sum()) for name in ("train", "calibration", "validation")] == [191, 23, 23]


def test_a_donor_with_larger_counts_widens_the_store(donors, before, tmp_path: Path) -> None:
    large = anndata.read_h5ad(donors[1])
    large.X = sparse.csr_matrix(large.X * 70_000)
    large.write_h5ad(donors[1])
    counts = before.read_rows(0, 370)
    assert counts.dtype == np.uint16
    atlas = append(before, donors[1])
    assert atlas.read_rows(0, 1).dtype == np.uint32
    assert (atlas.read_rows(0, 370) != counts).nnz == 0
    row = atlas.obs["source_row"].to_numpy()[370:]
    assert (atlas.read_rows(370, 607).astype(float) != large.X[row].astype(float)).nnz == 0


def test_labels_by_hand_and_earlier_work_outlive_an_append(donors, before, tmp_path: Path) -> None:
    before.labels.label([4, 9], "mine")
    before.labels.close()
    before.write_obsm("X_latent", np.ones((370, 2), np.float32))
    before.write_labels()
    atlas = append(before, donors[1])
    assert [atlas.labels.current()[row] for row in (4, 9, 370)] == ["mine", "mine", None]
    latent = anndata.read_zarr(atlas.path).obsm["X_latent"]
    assert (latent[:370] == 1).all() and np.isnan(latent[370:]).all()
    assert atlas.obs["livelatent_label"][:370].notna().any() and atlas.obs["livelatent_label"][370:].isna().all()


def test_the_same_donor_is_refused_twice(donors, before, tmp_path: Path) -> None:
    atlas = append(before, donors[1])
    for path in donors:
        with pytest.raises(SourceError, match=rf"already \(as {path.name}\)"):
            append(atlas, path)


def test_another_file_of_the_same_name_gets_a_longer_one(donors, before, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    os.rename(donors[1], tmp_path / "more" / "one.h5ad")
    grown = append(before, tmp_path / "more" / "one.h5ad")
    assert set(grown.obs["source"].astype(str)) == {"one.h5ad", "more/one.h5ad"}
    assert set(json.loads(grown.facts["sources"])[1]) >= {"name", "sha256"}


def test_a_donor_that_lacks_genes_or_layers_is_refused_and_the_store_is_as_it_was(
    donors, before, tmp_path: Path
) -> None:
    adata = anndata.read_h5ad(donors[1])
    adata[:, :200].write_h5ad(tmp_path / "few.h5ad")
    with pytest.raises(GeneMismatchError, match="100 of the 300 genes"):
        append(before, tmp_path / "few.h5ad")
    grown = append(before, tmp_path / "few.h5ad", join="outer")
    assert grown.read_rows(370, 607)[:, 200:].nnz == 0
    del adata.layers["half"]
    adata.write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(SourceError, match='lacks the layer "half"'):
        append(grown, tmp_path / "bare.h5ad")
    assert Atlas.open(before.path).n_cells == 607


@pytest.mark.parametrize(
    "when",
    [
        "reading",
        "writing half",
        pytest.param("writing", marks=pytest.mark.slow),
        pytest.param("tables", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_append_leaves_the_store_and_goes_on(donors, before, straight, when: str) -> None:
    counts = before.read_rows(0, 370)

    def interrupt(done: int, total: int, what: str) -> None:
        if what.startswith(when) and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        append(before, donors[1], progress=interrupt)
    again = Atlas.open(before.path)
    assert again.n_cells == 370 and (again.read_rows(0, 370) != counts).nnz == 0
    atlas = append(again, donors[1])
    assert (atlas.read_rows(0, 607) != straight.read_rows(0, 607)).nnz == 0
    assert atlas.obs.drop(columns="store_uuid").equals(straight.obs.drop(columns="store_uuid"))


def test_a_store_that_is_being_written_is_busy(donors, before, tmp_path: Path) -> None:
    from livelatent.atomic import only_writer

    with only_writer(tmp_path / ".a.zarr.lock", "it"), pytest.raises(StoreBusyError):
        append(before, donors[1])


def test_what_others_wrote_while_the_cells_were_looked_at_is_not_lost(
    donors, before, tmp_path: Path, monkeypatch
) -> None:

    def meanwhile(*parts: object) -> None:
        before.write_obsm("X_new", np.ones((370, 2), np.float32))

    monkeypatch.setattr(sys.modules["livelatent.atlas.append"], "check_layers", meanwhile)
    with pytest.raises(StoreBusyError, match="append again"):
        append(before, donors[1])
    assert (anndata.read_zarr(before.path).obsm["X_new"] == 1).all() and Atlas.open(before.path).n_cells == 370


def test_a_cell_that_is_there_by_its_identity_is_not_appended_again(donors, before, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    os.rename(donors[1], tmp_path / "more" / donors[0].name)
    other = ingest(tmp_path / "more" / donors[0].name, tmp_path / "b.zarr", layout=TINY)
    for same in (before.path, other.path):
        with pytest.raises(SourceError, match="are there twice by their identity"):
            append(before, same)
    with pytest.raises(SourceError, match="237 cells are there twice"):
        ingest([before.path, other.path], tmp_path / "c.zarr")


def test_whole_numbers_of_obs_are_never_rounded_to_fit_others(donors, tmp_path: Path) -> None:
    for path, numbers in zip(donors, ([2**63 + 5], [0.5]), strict=True):
        adata = anndata.read_h5ad(path)
        adata.obs["id"] = np.array(numbers * adata.n_obs)
        adata.write_h5ad(path)
    atlas = append(store(donors, tmp_path), donors[1])
    assert set(atlas.obs["id"].astype(str)) == {str(2**63 + 5), "0.5"}
