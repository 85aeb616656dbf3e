"""An opened store: what it answers, what plain anndata sees of it, and that damage is never read as data."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import anndata
import numpy as np
import pytest
import zarr
from scipy import sparse

from damage import flip
from livelatent.atlas import Atlas, append, ingest, manifest
from livelatent.atlas.elements import consolidate
from livelatent.atlas.layout import Layout
from livelatent.atlas.on_zarrs import on_zarrs
from livelatent.errors import ColumnError, StoreError
from livelatent.stream.stream import Stream

TINY_LAYOUT = Layout(chunk_cells=16, shard_elements=9_000)


@pytest.fixture(scope="session")
def matrix(tiny_atlas: Atlas) -> np.ndarray:
    """The whole matrix as plain anndata reads it."""
    return anndata.read_zarr(tiny_atlas.path).X.toarray()


def test_the_tiny_atlas_breaks_symmetry(tiny_atlas: Atlas, matrix: np.ndarray) -> None:
    assert matrix.shape == (607, 300)
    n_shards = [len(list((tiny_atlas.path / "X" / name / "c").iterdir())) for name in ("data", "indices")]
    assert n_shards == [10, 10] and tiny_atlas.csr().data.shape[0] % tiny_atlas.csr().data.shards[0]
    assert (matrix.sum(axis=1) == 0).sum() == 2 and (matrix[:, -1] == 0).all()
    assert len(tiny_atlas.label_names) == 4 and tiny_atlas.batch_names == ("d1", "d2", "d3")
    assert 60 < (tiny_atlas.label < 0).sum() < 80


def test_codes_and_names_are_those_of_the_columns(tiny_atlas: Atlas) -> None:
    names = [*tiny_atlas.label_names, None]
    for code, written in zip(tiny_atlas.label, tiny_atlas.true_labels, strict=True):
        assert names[code] == (None if written == "unassigned" else written)
    assert tiny_atlas.label_names == ("B cell", "NK cell", "T cell", "monocyte")
    assert [tiny_atlas.batch_names[b] for b in tiny_atlas.batch] == tiny_atlas.obs["donor"].tolist()
    assert tiny_atlas.label.dtype == tiny_atlas.batch.dtype == np.int32


def test_totals_are_sums_and_mean_total_their_mean(tiny_atlas: Atlas, matrix: np.ndarray) -> None:
    assert (tiny_atlas.total == matrix.sum(axis=1)).all()
    assert tiny_atlas.mean_total == pytest.approx(matrix.sum() / 607, rel=1e-12)


@pytest.mark.parametrize("split", [None, "train", "calibration", "validation"])
@pytest.mark.parametrize("labelled", [None, True, False])
def test_rows_are_those_of_a_plain_loop(tiny_atlas: Atlas, split: str | None, labelled: bool | None) -> None:
    oracle = [
        r
        for r in range(607)
        if split in (None, tiny_atlas.split[r]) and labelled in (None, bool(tiny_atlas.label[r] >= 0))
    ]
    got = tiny_atlas.rows(split, labelled=labelled)
    assert got.tolist() == oracle and got.dtype == np.int64


def test_an_unknown_split_is_refused(tiny_atlas: Atlas) -> None:
    with pytest.raises(ValueError, match="validation"):
        tiny_atlas.rows("test")


@pytest.mark.parametrize(("start", "stop"), [(0, 607), (0, 1), (606, 607), (100, 100), (90, 333), (600, 9999)])
def test_row_ranges_are_slices_of_the_matrix(tiny_atlas: Atlas, matrix: np.ndarray, start: int, stop: int) -> None:
    got = tiny_atlas.read_rows(start, stop)
    assert (got.toarray() == matrix[start:stop]).all() and got.shape == matrix[start:stop].shape


@pytest.mark.parametrize("step", [1, 2, 65, 200])
def test_any_rows_are_read_in_order(tiny_atlas: Atlas, matrix: np.ndarray, step: int) -> None:
    rows = np.arange(3, 607, step)
    assert (tiny_atlas.read_cells(rows).toarray() == matrix[rows]).all()
    mask = np.zeros(607, bool)
    mask[rows] = True
    assert (tiny_atlas.read_cells(mask) != tiny_atlas.read_cells(rows)).nnz == 0
    assert tiny_atlas.read_cells([]).shape == (0, 300)


def test_the_matrix_decodes_on_zarrs_without_a_global_change(tiny_atlas: Atlas) -> None:
    before = zarr.config.get("codec_pipeline.path")
    arrays = Atlas.open(tiny_atlas.path).csr()
    assert zarr.config.get("codec_pipeline.path") == before
    assert type(arrays.data._async_array.codec_pipeline).__name__ == "ZarrsCodecPipeline"
    assert arrays.indices.dtype == np.uint16 and arrays.indptr.dtype == np.int64


def test_what_another_thread_opens_meanwhile_is_as_the_process_has_set_it(tiny_atlas: Atlas) -> None:
    data = zarr.open_group(tiny_atlas.path, mode="r")["X/data"]
    wanted = np.asarray(data[:])
    setting, plain = zarr.config.get("codec_pipeline.path"), type(data.async_array.codec_pipeline).__name__
    seen: set[tuple[str, str]] = set()
    done = threading.Event()

    def opens_others() -> None:
        while not done.is_set():
            other = zarr.open_array(tiny_atlas.path / "X/data", mode="r")
            seen.add((zarr.config.get("codec_pipeline.path"), type(other.async_array.codec_pipeline).__name__))

    others = threading.Thread(target=opens_others)
    others.start()
    try:
        for in_order in (True, False) * 50:
            coded = on_zarrs(data, in_order=in_order)
            assert type(coded.async_array.codec_pipeline).__name__ == "ZarrsCodecPipeline" != plain
        assert (np.asarray(coded[:]) == wanted).all()
    finally:
        done.set()
        others.join()
    assert seen == {(setting, plain)}
    assert type(data.async_array.codec_pipeline).__name__ == plain


def test_an_atlas_travels_to_another_process(tiny_atlas: Atlas) -> None:
    again = pickle.loads(pickle.dumps(tiny_atlas))
    assert again.uuid == tiny_atlas.uuid and (again.label == tiny_atlas.label).all()


def test_scanpy_runs_on_what_anndata_reads(own_atlas: Atlas) -> None:
    import warnings

    import scanpy as sc

    for adata in (anndata.read_zarr(own_atlas.path), own_atlas.to_anndata()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # scanpy 1.12 beside pandas 3.1
            # scipy's sparse arrays would rather have signed indices; the sums are right all the same.
            warnings.filterwarnings("ignore", message="indices array has non-integer dtype")
            sc.pp.filter_cells(adata, min_counts=1)
            sc.pp.normalize_total(adata)
            sc.pp.log1p(adata)
            sc.pp.pca(adata, n_comps=5)
        assert adata.obsm["X_pca"].shape == (605, 5)


def test_some_rows_as_anndata(tiny_atlas: Atlas, matrix: np.ndarray) -> None:
    adata = tiny_atlas.to_anndata([600, 5, 77])
    assert adata.X.dtype == np.float32 and (adata.X.toarray() == matrix[[5, 77, 600]]).all()
    assert adata.obs_names.tolist() == tiny_atlas.obs.index[[5, 77, 600]].tolist()


# Writing


def test_obsm_is_written_and_replaced(own_atlas: Atlas) -> None:
    for n_dims in (3, 2):
        latent = np.random.default_rng(n_dims).normal(size=(607, n_dims)).astype(np.float32)
        own_atlas.write_obsm("X_latent", latent)
        assert (anndata.read_zarr(own_atlas.path).obsm["X_latent"] == latent).all()
        assert (Atlas.open(own_atlas.path).to_anndata([4]).obsm["X_latent"] == latent[4]).all()
    with pytest.raises(ValueError, match="607"):
        own_atlas.write_obsm("X_latent", np.zeros((606, 2)))
    with pytest.raises(ColumnError, match="slash"):
        own_atlas.write_obsm("../X", np.zeros((607, 2)))


def test_labels_become_a_column_that_plain_anndata_sees(own_atlas: Atlas) -> None:
    unlabelled = int(own_atlas.rows(labelled=False)[0])
    labelled = int(own_atlas.rows(labelled=True)[0])
    original = own_atlas.true_labels[labelled]
    for name in ("plasma?", "<b>plasma</b>"):
        own_atlas.labels.label([unlabelled], name)
        own_atlas.write_labels()
        column = anndata.read_zarr(own_atlas.path).obs["livelatent_label"]
        assert column.iloc[unlabelled] == name and column.iloc[labelled] == original
        assert column.isna().sum() == (own_atlas.label < 0).sum() - 1
    own_atlas.labels.label([labelled], "changed")
    own_atlas.write_labels()
    again = Atlas.open(own_atlas.path)
    assert again.obs["livelatent_label"].iloc[labelled] == "changed"
    assert again.obs["cell_type"].iloc[labelled] == original
    assert again.label_names == own_atlas.label_names


def test_a_column_that_came_with_the_data_is_never_written_over(own_atlas: Atlas) -> None:
    for column in ("cell_type", "age", "source"):
        with pytest.raises(ColumnError, match="came with the data"):
            own_atlas.write_labels(column)
    own_atlas.write_labels("my_labels")
    own_atlas.write_labels("my_labels")
    assert (anndata.read_zarr(own_atlas.path).obs["cell_type"].astype(object).dropna()).tolist() == [
        name for name in own_atlas.true_labels if name is not None
    ]


def test_our_consolidated_metadata_is_zarrs_own(own_atlas: Atlas) -> None:
    consolidate(own_atlas.path)
    ours = json.loads((own_atlas.path / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
    with pytest.warns(zarr.errors.ZarrUserWarning):
        zarr.consolidate_metadata(own_atlas.path)
    theirs = json.loads((own_atlas.path / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
    assert ours.keys() == theirs.keys()
    assert all(ours[key]["attributes"] == theirs[key]["attributes"] for key in ours)


WRITER = """
import sys
import threading
from livelatent.atlas import Atlas
atlas = Atlas.open(sys.argv[1])
k = 0
while True:
    atlas.labels.label([k % 607], f"name {k}")
    atlas.write_labels()
    print(k, flush=True)
    k += 1
"""


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_kill_9_while_a_column_is_written_leaves_a_readable_store(own_atlas: Atlas, rounds: int) -> None:
    matrix = own_atlas.read_rows(0, 607)
    for round_ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(own_atlas.path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(2 + round_ % 5):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        adata = anndata.read_zarr(own_atlas.path)
        assert (adata.X != matrix).nnz == 0 and adata.n_obs == 607
        again = Atlas.open(own_atlas.path)
        again.write_labels()
        again.labels.close()
        assert "livelatent_label" in anndata.read_zarr(own_atlas.path).obs


# Damage


def test_what_is_no_store_of_ours_is_refused(tmp_path: Path, tiny_adatas: dict) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        Atlas.open(tmp_path / "none.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(StoreError, match="no Zarr v3 store"):
        Atlas.open(tmp_path / "empty.zarr")
    zarr.open_group(tmp_path / "plain.zarr", mode="w", zarr_format=3)
    with pytest.raises(StoreError, match="not written by livelatent"):
        Atlas.open(tmp_path / "plain.zarr")


def test_a_store_moved_without_its_manifest_opens(own_atlas: Atlas, tmp_path: Path) -> None:
    shutil.move(own_atlas.path, tmp_path / "moved.zarr")
    assert Atlas.open(tmp_path / "moved.zarr").n_cells == 607


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_missing_shard_is_an_error_not_zeros(own_atlas: Atlas, has_manifest: bool) -> None:
    (own_atlas.path / "X" / "indices" / "c" / "1").unlink()
    if not has_manifest:
        manifest.manifest_path(own_atlas.path).unlink()
    with pytest.raises(StoreError, match="X/indices/c/1 is missing"):
        Atlas.open(own_atlas.path)


@pytest.mark.parametrize("name", ["data", "indices"])
@pytest.mark.parametrize("place", [0.0, 0.31, 0.77, 0.99999])
def test_a_flipped_bit_in_a_shard_is_an_error_that_names_it(own_atlas: Atlas, name: str, place: float) -> None:
    path = own_atlas.path / "X" / name / "c" / "2"
    flip(path, int(place * path.stat().st_size), 5)
    atlas = Atlas.open(own_atlas.path)
    with pytest.raises(StoreError, match=f"X/{name}/c/2"):
        atlas.read_rows(0, 607)


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_no_flipped_bit_anywhere_is_read_as_data(own_atlas: Atlas, every: int) -> None:
    """In every file of the store, or every third, one bit. Only padding after the last value may change unseen."""
    rng = np.random.default_rng(0)
    files = [path for path in sorted(own_atlas.path.rglob("*")) if path.is_file() and path.stat().st_size]
    assert len(files) > 50
    matrix, unseen = own_atlas.read_rows(0, 607), []
    for path in files[::every]:
        whole = path.read_bytes()
        flip(path, int(rng.integers(len(whole))), int(rng.integers(8)))
        try:
            atlas = Atlas.open(own_atlas.path)
            assert (atlas.read_rows(0, 607) != matrix).nnz == 0 and atlas.obs.equals(own_atlas.obs)
            unseen.append(path.relative_to(own_atlas.path).as_posix())
        except StoreError:
            pass
        path.write_bytes(whole)
    assert set(unseen) <= {"X/data/c/9", "X/indices/c/9"}


@pytest.mark.parametrize("name", ["data", "indices"])
def test_a_flipped_bit_at_the_edge_of_a_range_is_found(own_atlas: Atlas, name: str) -> None:
    """zarrs does not check Zarr's own crc32c where it decodes a part of a shard."""
    path, pointers = own_atlas.path / "X" / name / "c", own_atlas.csr().indptr
    shard = int(own_atlas.csr().data.shards[0])
    row = int(np.searchsorted(pointers, 2 * shard + 20))
    flip(path / "2", 100, 3)
    with pytest.raises(StoreError, match=f"X/{name}/c/2"):
        Atlas.open(own_atlas.path).read_rows(row, row + 1)


def test_a_truncated_file_is_found(own_atlas: Atlas) -> None:
    path = own_atlas.path / "X" / "data" / "c" / "0"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="bytes"):
        Atlas.open(own_atlas.path)


@pytest.mark.parametrize("value", [300, 65_535])
def test_a_gene_index_outside_the_genes_is_an_error(own_atlas: Atlas, value: int) -> None:
    zarr.open_group(own_atlas.path, mode="r+")["X/indices"][1000] = value
    manifest.manifest_path(own_atlas.path).unlink()
    with pytest.raises(StoreError, match="gene index"):
        Atlas.open(own_atlas.path).read_rows(0, 607)


def test_row_pointers_that_fall_are_an_error(own_atlas: Atlas) -> None:
    pointers = zarr.open_group(own_atlas.path, mode="r+")["X/indptr"]
    pointers[5] = int(pointers[7]) + 1
    manifest.manifest_path(own_atlas.path).unlink()
    with pytest.raises(StoreError, match="row pointers"):
        Atlas.open(own_atlas.path).csr()


def test_another_format_is_refused(own_atlas: Atlas) -> None:
    zarr.open_group(own_atlas.path, mode="r+")["uns/livelatent/format"][()] = 99
    with pytest.raises(StoreError, match="format 99"):
        Atlas.open(own_atlas.path)


@pytest.mark.parametrize("column", ["", "..", "a/b", "zarr.json", "_index", "n" * 300])
def test_a_name_that_is_none_for_a_column_changes_nothing(own_atlas: Atlas, column: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in own_atlas.path.rglob("*")}
    with pytest.raises(ColumnError, match="name has no slash"):
        own_atlas.write_labels(column)
    assert {path: path.stat().st_mtime_ns for path in own_atlas.path.rglob("*")} == before


def test_any_storable_name_can_be_written_twice(own_atlas: Atlas) -> None:
    for name in ("replaced", "old", "new", "é 'x'"):
        for value in (1.0, 2.0):
            own_atlas.write_obsm(name, np.full((607, 2), value))
        assert (Atlas.open(own_atlas.path).to_anndata().obsm[name] == 2).all()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 200_000, '{"format": 1, "uuid": "UUID"}', '{"format": 1, "uuid": "UUID", "files": [1]}'],
)
def test_a_manifest_that_is_none_is_an_error(own_atlas: Atlas, text: str) -> None:
    manifest = own_atlas.path.with_name("tiny.manifest.json")
    manifest.write_text(text.replace("UUID", own_atlas.uuid))
    with pytest.raises(StoreError, match=r"tiny\.manifest\.json is damaged"):
        Atlas.open(own_atlas.path)


def test_a_store_that_another_replaced_meanwhile_gives_no_wrong_cells(tiny_h5ad: list[Path], tmp_path: Path) -> None:
    atlas = ingest(tiny_h5ad[0], tmp_path / "a.zarr", layout=TINY_LAYOUT)
    atlas.read_rows(0, 10)
    ingest(tiny_h5ad[0], tmp_path / "a.zarr", layout=TINY_LAYOUT, overwrite=True)  # the same cells in the same places
    with pytest.raises(StoreError, match="replaced by another store while it was open"):
        atlas.read_rows(0, 10)
    with pytest.raises(StoreError, match="replaced by another"):
        next(Stream(atlas, atlas.rows()).minibatches(0))


@pytest.mark.parametrize("is_read_before", [True, False])
def test_a_store_that_has_grown_meanwhile_gives_the_same_cells(tmp_path: Path, is_read_before: bool) -> None:
    rng = np.random.default_rng(0)
    for name, largest in (("a", 9), ("b", 70_000)):  # the second needs a wider type
        counts = sparse.csr_matrix(rng.integers(0, largest, (60, 20)).astype(np.float32))
        anndata.AnnData(counts).write_h5ad(tmp_path / f"{name}.h5ad")
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", layout=TINY_LAYOUT)
    wanted = Atlas.open(tmp_path / "a.zarr").read_rows(0, 60)
    names = Atlas.open(tmp_path / "a.zarr").obs.index.tolist()
    if is_read_before:
        atlas.read_rows(3, 5)
    append(tmp_path / "a.zarr", tmp_path / "b.h5ad")
    assert (atlas.read_rows(0, 100) != wanted).nnz == 0 and atlas.n_cells == 60
    assert atlas.obs.index.tolist() == names
    assert next(Stream(atlas, atlas.rows()).minibatches(0)).n_cells == 60


def test_nothing_is_read_from_or_written_to_a_store_that_replaced_the_one_opened(
    tiny_h5ad: list[Path], tmp_path: Path
) -> None:
    atlas = ingest(tiny_h5ad[0], tmp_path / "a.zarr", label="cell_type", layout=TINY_LAYOUT)
    ingest(tiny_h5ad[1], tmp_path / "a.zarr", layout=TINY_LAYOUT, overwrite=True)
    with pytest.raises(StoreError, match="replaced by another"):
        _ = atlas.obs
    with pytest.raises(StoreError, match="replaced by another"):
        atlas.write_obsm("X_mine", np.zeros((370, 2), np.float32))
    with pytest.raises(StoreError, match="replaced by another"):
        atlas.to_anndata()


def test_a_latent_of_fewer_cells_than_the_store_has_now_is_refused(tiny_h5ad: list[Path], tmp_path: Path) -> None:
    atlas = ingest(tiny_h5ad[0], tmp_path / "a.zarr", layout=TINY_LAYOUT)
    grown = append(atlas, tiny_h5ad[1])
    with pytest.raises(StoreError, match="has grown to 607 cells"):
        atlas.write_obsm("X_mine", np.zeros((370, 2), np.float32))
    grown.write_obsm("X_mine", np.ones((607, 2), np.float32))
    assert anndata.read_zarr(tmp_path / "a.zarr").obsm["X_mine"].shape == (607, 2)


def test_layers_come_into_memory_too(tmp_path: Path) -> None:
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(1, (50, 20)).astype(np.float32))
    adata = anndata.AnnData(counts, layers={"scaled": counts.multiply(-0.3).tocsr()})
    adata.write_h5ad(tmp_path / "a.h5ad")
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", layout=TINY_LAYOUT)
    row = atlas.obs["source_row"].to_numpy()
    assert (atlas.to_anndata().layers["scaled"] != adata.layers["scaled"][row]).nnz == 0
    assert (atlas.to_anndata([3, 9]).layers["scaled"] != adata.layers["scaled"][row[[3, 9]]]).nnz == 0
