"""Files that nobody ingested: what plain anndata reads of them, cell by cell, or an error; they stream as stores do."""

import json
import os
import pickle
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

import livelatent as ll
from damage import flip
from livelatent.atlas.foreign import ForeignAtlas, open_foreign
from livelatent.errors import ColumnError, CountsError, GeneMismatchError, LabelError, SourceError, StoreError
from livelatent.stream.plan import StreamConfig
from livelatent.stream.stream import Stream

N_CELLS, N_GENES = 197, 53
BLOSC = zarr.codecs.BloscCodec(cname="lz4", clevel=3, shuffle="shuffle", typesize=4)


def counts() -> sparse.csr_matrix:
    """Uneven cells; the first, the last and two neighbours are empty, gene 7 is silent, one zero is stored."""
    rng = np.random.default_rng(0)
    dense = rng.poisson(rng.gamma(0.3, 2, N_GENES) * rng.lognormal(0, 1, (N_CELLS, 1)))
    dense[[0, 40, 41, -1]], dense[:, 7] = 0, 0
    found = sparse.csr_matrix(dense.astype(np.float32))
    found.data[11] = 0
    return found


def made() -> anndata.AnnData:
    rng = np.random.default_rng(1)
    kind = rng.choice(np.array(["T cell", "B cell", "NK é", "unassigned", ""], dtype=object), N_CELLS)
    kind[5] = None
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(kind),
            "donor": rng.choice(["d1", "d2", "d3"], N_CELLS),
            "age": rng.integers(0, 90, N_CELLS),
        },
        index=pd.Index([f"cell{i}" for i in range(N_CELLS)], dtype=object),
    )
    var = pd.DataFrame(
        {"gene_ids": [f"E{i}" for i in range(N_GENES)]}, index=pd.Index([f"g{i}" for i in range(N_GENES)], dtype=object)
    )
    found = anndata.AnnData(counts(), obs=obs, var=var)
    found.obsm["X_ref"] = rng.normal(size=(N_CELLS, 3))
    found.layers["spliced"] = sparse.csr_matrix(found.X * 2)
    return found


def rewritten(path: Path, types: tuple[str, str] = ("f4", "i4"), shuffled: bool = False, **how: object) -> Path:
    """The lists of `X` again, in other types and chunks; with the genes of each cell in another order."""
    values = counts()
    if shuffled:
        for first, last in zip(values.indptr, values.indptr[1:], strict=False):
            for part in (values.data, values.indices):
                part[first:last] = part[first:last][::-1].copy()
    root = h5py.File(path, "r+") if path.is_file() else zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, kind in zip(("data", "indices"), types, strict=True):
        del root[f"X/{name}"]
        new = getattr(values, name).astype(kind)
        if path.is_file():
            root.create_dataset(f"X/{name}", data=new, **how)
        else:
            root.create_array(f"X/{name}", data=new, **how)
    if path.is_file():
        root.close()
    return path


def h5ad(path: Path, x: object = None, **how: object) -> Path:
    adata = made()
    adata.X = adata.X if x is None else x
    adata.write_h5ad(path, **how)
    return path


def zarr_store(path: Path, version: int, x: object = None) -> Path:
    adata = made()
    adata.X = adata.X if x is None else x
    anndata.io.write_elem(zarr.open_group(path, mode="w", zarr_format=version), "/", adata)
    return path


def dense(kind: str = "f4") -> np.ndarray:
    return counts().toarray().astype(kind)


MADE = {
    "h5ad": lambda p: h5ad(p / "a.h5ad"),
    "h5ad, gzip, in chunks": lambda p: rewritten(h5ad(p / "a.h5ad"), chunks=(64,), compression="gzip", shuffle=True),
    "h5ad, 64 bits": lambda p: rewritten(h5ad(p / "a.h5ad"), ("f8", "i8"), chunks=(100,)),
    "h5ad, whole numbers": lambda p: rewritten(h5ad(p / "a.h5ad"), ("i8", "u4")),
    "h5ad, unsigned": lambda p: rewritten(h5ad(p / "a.h5ad"), ("u8", "u2")),
    "h5ad, small": lambda p: rewritten(h5ad(p / "a.h5ad"), ("u1", "u1")),
    "h5ad, half precision": lambda p: rewritten(h5ad(p / "a.h5ad"), ("f2", "i2")),
    "h5ad, the other byte order": lambda p: rewritten(h5ad(p / "a.h5ad"), (">f4", ">i8")),
    "h5ad, genes in any order": lambda p: rewritten(h5ad(p / "a.h5ad"), shuffled=True),
    "h5ad, dense": lambda p: h5ad(p / "a.h5ad", dense()),
    "h5ad, dense, gzip": lambda p: h5ad(p / "a.h5ad", dense("i4"), compression="gzip"),
    "zarr v2": lambda p: zarr_store(p / "a.zarr", 2),
    "zarr v2, in chunks": lambda p: rewritten(zarr_store(p / "a.zarr", 2), ("u2", "i8"), chunks=(50,)),
    "zarr v2, dense": lambda p: zarr_store(p / "a.zarr", 2, dense()),
    "zarr v3": lambda p: zarr_store(p / "a.zarr", 3),
    "zarr v3, in chunks": lambda p: rewritten(zarr_store(p / "a.zarr", 3), ("i4", "i4"), chunks=(64,)),
    "zarr v3, in shards": lambda p: rewritten(
        zarr_store(p / "a.zarr", 3), ("f4", "u2"), chunks=(32,), shards=(320,), compressors=BLOSC
    ),
    "zarr v3, in shards, other types": lambda p: rewritten(
        zarr_store(p / "a.zarr", 3), ("f2", "u4"), chunks=(32,), shards=(320,), compressors=BLOSC
    ),
    "zarr v3, dense": lambda p: zarr_store(p / "a.zarr", 3, dense("u2")),
}


def plain(path: Path) -> anndata.AnnData:
    """What anndata reads of it."""
    return anndata.read_h5ad(path) if path.is_file() else anndata.read_zarr(path)


def plain_counts(path: Path, kind: str) -> sparse.csr_matrix:
    """Its counts as anndata reads them; what they were made of where scipy knows no such type."""
    if kind in ("h5ad, half precision", "h5ad, the other byte order", "zarr v3, in shards, other types"):
        with pytest.raises(ValueError, match=r"scipy\.sparse does not support"):
            plain(path)
        return counts()
    x = plain(path).X
    return x if sparse.issparse(x) else sparse.csr_matrix(x)


def opened(path: Path, **how: object) -> ForeignAtlas:
    return open_foreign(path, label="cell_type", batch="donor", unlabelled=["unassigned"], **{"progress": False, **how})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that nobody changes."""
    return MADE["h5ad, gzip, in chunks"](tmp_path_factory.mktemp("sound"))


# What is read


@pytest.mark.parametrize(
    "kind",
    # The second of a kind whose chunks or types another has.
    [pytest.param(k, marks=pytest.mark.slow) if k in ("zarr v2", "zarr v3", "zarr v3, in chunks") else k for k in MADE],
)
def test_every_cell_and_any_stretch_of_values_is_what_anndata_reads(tmp_path: Path, kind: str) -> None:
    path = MADE[kind](tmp_path)
    atlas, csr = opened(path), plain_counts(path, kind)
    x = csr.toarray()
    assert x.shape == (atlas.n_cells, atlas.n_genes) == (N_CELLS, N_GENES) and x.sum() > 3000
    for start, stop in [(0, N_CELLS), (0, 1), (39, 43), (196, 999), (150, 20), (13, 14), (100, 180)]:
        assert (atlas.read_rows(start, stop).toarray() == x[start:stop]).all()
    rows = np.r_[0:3, 41, 60:190:9, 196]
    assert (atlas.read_cells(rows).toarray() == x[rows]).all()
    assert (atlas.total == x.sum(axis=1)).all() and atlas.mean_total == x.sum(dtype=float) / N_CELLS
    matrix = opened(path).matrix()
    assert matrix.indptr.dtype == np.int64 and (matrix.indptr == csr.indptr).all()
    rng = np.random.default_rng(2)
    stretches = [(0, csr.nnz), (0, 0), (csr.nnz, csr.nnz), *np.sort(rng.integers(0, csr.nnz, (20, 2))).tolist()]
    for first, last in stretches:
        slot = np.full(last - first + 6, 99, matrix.data_type), np.full(last - first + 6, 99, matrix.index_type)
        data, indices = (part[3 : 3 + last - first] for part in slot)
        matrix.read_into(first, last, data, indices)
        assert (data == csr.data[first:last]).all() and (indices == csr.indices[first:last]).all()
        assert all((part[:3] == 99).all() and (part[-3:] == 99).all() for part in slot)


def test_counts_are_taken_where_they_are_said_to_be(tmp_path: Path) -> None:
    adata = made()
    adata.raw = anndata.AnnData(sparse.csr_matrix(adata.X * 3), var=adata.var)
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    for place, factor in (("raw", 3), ("spliced", 2)):
        atlas = open_foreign(tmp_path / "a.h5ad", counts=place, gene_names="gene_ids", progress=False)
        assert (atlas.read_rows(0, N_CELLS).toarray() == counts().toarray() * factor).all()
        assert atlas.genes[3] == "E3"
    with pytest.raises(CountsError, match=r'look log-normalised \(cell cell\d+, gene g\d+.*rows \d+.*"raw", "spliced"'):
        open_foreign(tmp_path / "a.h5ad").read_rows(100, 120)


def test_what_is_known_of_the_cells_is_what_an_ingest_would_know(sound: Path, tmp_path: Path) -> None:
    atlas = opened(sound)
    store = ll.ingest(sound, tmp_path / "a.zarr", label="cell_type", batch="donor", unlabelled=["unassigned"])
    row = store.obs["source_row"].to_numpy()
    assert atlas.label_names == store.label_names == ("B cell", "NK é", "T cell") and (atlas.genes == store.genes).all()
    assert atlas.batch_names == store.batch_names and (atlas.batch[row] == store.batch).all()
    assert (atlas.label[row] == store.label).all() and (atlas.true_labels[row] == store.true_labels).all()
    assert (atlas.total[row] == store.total).all() and atlas.mean_total == store.mean_total
    assert (atlas.obs["source"].to_numpy()[row] == store.obs["source"]).all()
    assert atlas.obs["source_row"].tolist() == list(range(N_CELLS)) and atlas.obs.index[9] == "cell9"
    assert atlas.kept.all() and atlas.kept_genes.all() and "livelatent_total" not in atlas.obs
    assert (atlas.obs_column("age").values == made().obs["age"]).all() and atlas.obs_column("age").names is None
    assert atlas.obs_column("source").names == ("a.h5ad",)
    with pytest.raises(ColumnError, match="Did you mean 'donor'"):
        atlas.obs_column("doner")
    with pytest.raises(ColumnError, match='"cluster"'):
        open_foreign(sound, label="cluster")


def test_the_split_is_a_hash_of_the_cell(sound: Path, tmp_path: Path) -> None:
    one, again, other = opened(sound), opened(sound), opened(sound, seed=1)
    assert (one.split == again.split).all() and (one.split != other.split).any()
    parts = [one.rows(name) for name in ("train", "calibration", "validation")]
    assert sorted(np.concatenate(parts)) == list(range(N_CELLS)) and all(part.size > 8 for part in parts)
    longer = anndata.concat([made(), made()], index_unique="-")
    (tmp_path / "b").mkdir()
    longer.write_h5ad(tmp_path / "b" / "a.h5ad")  # the same name, and more cells
    assert (open_foreign(tmp_path / "b" / "a.h5ad").split[:N_CELLS] == one.split).all()


def test_vectors_come_by_rows(tmp_path: Path) -> None:
    for kind in ("h5ad", "zarr v2", "zarr v3"):
        folder = tmp_path / kind
        folder.mkdir()
        path = MADE[kind](folder)
        rows, wanted = opened(path).obsm_rows("X_ref"), plain(path).obsm["X_ref"].astype(np.float32)
        for start, stop in ((0, N_CELLS), (190, 400), (7, 7), (50, 20), (13, 99)):
            assert (rows.read(start, stop) == wanted[start:stop]).all() and rows.n_dims == 3
    with pytest.raises(ColumnError, match="Did you mean 'X_ref'"):
        opened(path).obsm_rows("X_reff")


def test_it_comes_into_memory(sound: Path) -> None:
    got = opened(sound).to_anndata([190, 3, 77])
    assert (got.X.toarray() == counts()[[3, 77, 190]].toarray()).all() and got.X.dtype == np.float32
    assert got.obs_names.tolist() == ["cell3", "cell77", "cell190"] and got.var["gene_ids"].iloc[5] == "E5"


# Collections of annbatch


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    annbatch = pytest.importorskip("annbatch")
    folder = tmp_path_factory.mktemp("annbatch")
    adata = made()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object).fillna("unassigned").astype("category")
    adata.write_h5ad(folder / "a.h5ad")
    collected = annbatch.DatasetCollection(zarr.open_group(folder / "c.zarr", mode="w"))
    import warnings

    with warnings.catch_warnings(action="ignore"):  # annbatch's
        collected.add_adatas([folder / "a.h5ad"], dataset_size=80, shuffle_chunk_size=5, n_obs_per_chunk=8)
    return folder / "c.zarr"


def test_datasets_of_annbatch_are_one_run_of_cells(collection: Path) -> None:
    parts = [anndata.read_zarr(folder) for folder in sorted(collection.glob("dataset_*"))]
    atlas, adata = opened(collection), made()
    assert len(parts) == len(atlas.sources) >= 2 and len({part.n_obs for part in parts}) > 1
    x = sparse.vstack([part.X for part in parts]).toarray()
    names = np.concatenate([part.obs_names for part in parts])
    assert (atlas.read_rows(0, 999).toarray() == x).all() and atlas.obs.index.tolist() == names.tolist()
    assert (x == adata[names].X.toarray()).all() and (atlas.total == x.sum(axis=1)).all()
    assert [atlas.batch_names[code] for code in atlas.batch] == adata.obs.loc[names, "donor"].tolist()
    assert (atlas.obs_column("age").values == adata.obs.loc[names, "age"]).all()
    cut = parts[0].n_obs
    for start, stop in ((cut - 5, cut + 5), (cut, cut + 1), (cut - 1, cut), (3, N_CELLS - 3)):
        assert (atlas.read_rows(start, stop).toarray() == x[start:stop]).all()
    assert atlas.obs["source_row"].tolist() == [row for part in parts for row in range(part.n_obs)]
    wanted = np.concatenate([part.obsm["X_ref"] for part in parts]).astype(np.float32)
    assert (atlas.obsm_rows("X_ref").read(cut - 5, cut + 9) == wanted[cut - 5 : cut + 9]).all()


def test_parts_of_different_types_are_read_in_one_that_holds_both(tmp_path: Path) -> None:
    adata = made()
    adata[:90].copy().write_h5ad(tmp_path / "dataset_0.h5ad")
    part = adata[90:150].copy()
    part.X = part.X.astype(np.int32)
    anndata.io.write_elem(zarr.open_group(tmp_path / "dataset_1", mode="w", zarr_format=3), "/", part)
    part = adata[150:].copy()
    part.X = part.X.toarray().astype(np.uint16)
    part.write_h5ad(tmp_path / "dataset_2.h5ad")
    atlas = opened(tmp_path)
    assert (atlas.matrix().data_type, atlas.matrix().index_type) == (np.float64, np.int32)
    for start, stop in ((0, N_CELLS), (80, 170), (149, 151), (89, 90)):
        assert (atlas.read_rows(start, stop) != counts()[start:stop]).nnz == 0
    assert (atlas.total == counts().toarray().sum(axis=1)).all()


def test_datasets_of_different_genes_are_refused(tmp_path: Path) -> None:
    made().write_h5ad(tmp_path / "dataset_0.h5ad")
    made()[:, ::-1].copy().write_h5ad(tmp_path / "dataset_1.h5ad")
    with pytest.raises(GeneMismatchError, match=r"dataset_1\.h5ad has other genes than .*dataset_0\.h5ad"):
        open_foreign(tmp_path)


# Streams, models, passes


@pytest.mark.parametrize(
    "kind", ["h5ad, gzip, in chunks", pytest.param("h5ad, dense", marks=pytest.mark.slow), "zarr v3, in shards"]
)
def test_minibatches_are_those_of_the_ingested_store(tmp_path: Path, kind: str) -> None:
    path = MADE[kind](tmp_path)
    how = {"label": "cell_type", "batch": "donor", "unlabelled": ["unassigned"]}
    store, atlas = ll.ingest(path, tmp_path / "store.zarr", **how), opened(path)
    row = store.obs["source_row"].to_numpy()
    genes = [*(f"g{i}" for i in (44, 7, 0, 20)), "absent"]
    config = StreamConfig(minibatch_cells=20, block_cells=8, buffer_cells=64, seed=3)
    for wanted in (None, genes):
        cells: dict[int, list[np.ndarray]] = {}
        for one, place in ((store, row), (atlas, np.arange(N_CELLS))):
            with Stream(one, one.rows(), config, genes=wanted) as stream:
                for m in stream.minibatches(epoch=1):
                    for i, cell in enumerate(m.cell.tolist()):
                        values = [getattr(m, name)[i].numpy() for name in ("x", "label", "batch", "total")]
                        cells.setdefault(int(place[cell]), []).append(values)
        assert sorted(cells) == list(range(N_CELLS))
        for one, other in cells.values():
            assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_two_epochs_are_shuffled_and_whole(sound: Path) -> None:
    atlas = opened(sound)
    rows = atlas.rows("train")
    with Stream(atlas, rows, StreamConfig(minibatch_cells=20, block_cells=8, buffer_cells=64)) as stream:
        orders = [np.concatenate([m.cell for m in stream.minibatches(epoch)]) for epoch in (0, 1)]
    assert all((np.sort(order) == rows).all() for order in orders) and (orders[0] != orders[1]).any()


def test_columns_and_vectors_come_along(sound: Path) -> None:
    atlas, adata = opened(sound), plain(sound)
    with Stream(
        atlas, None, StreamConfig(minibatch_cells=30, block_cells=8), obs=("age", "donor"), obsm=("X_ref",)
    ) as stream:
        for m in stream.minibatches(0):
            cell = m.cell.numpy()
            assert (m.obs["age"].numpy() == adata.obs["age"].to_numpy()[cell]).all()
            names = stream.obs_names["donor"]
            assert [names[code] for code in m.obs["donor"]] == adata.obs["donor"].iloc[cell].tolist()
            assert (m.obsm["X_ref"].numpy() == adata.obsm["X_ref"][cell].astype(np.float32)).all()


def test_a_model_learns_and_embeds_from_a_file(tmp_path: Path, tiny_h5ad: list[Path]) -> None:
    from livelatent.atlas.passes import gene_moments

    how = {"label": "cell_type", "batch": "donor", "unlabelled": ["unassigned"]}
    atlas = open_foreign(tiny_h5ad[0], **how, progress=False)
    store = ll.ingest(tiny_h5ad[0], tmp_path / "a.zarr", **how)
    one, other = gene_moments(atlas), gene_moments(store)
    assert np.allclose(one.mean, other.mean, rtol=1e-12) and (one.n_seen == other.n_seen).all()
    assert (ll.highly_variable_genes(atlas, 40) == ll.highly_variable_genes(store, 40)).all()
    model = ll.Cellular(atlas, n_genes=60, n_latent=8)
    run = ll.Run(model, atlas, epochs=2, folder=tmp_path / "run", device="cpu")
    run.start()
    assert run.wait().state == "done"
    latent, row = ll.embed(run.model, atlas, device="cpu"), store.obs["source_row"].to_numpy()
    assert np.allclose(latent[row], ll.embed(run.model, store, device="cpu"), atol=1e-6)
    before = tiny_h5ad[0].stat().st_mtime_ns
    with pytest.raises(StoreError, match=r"read and never written to\. Ingest it: livelatent\.ingest"):
        ll.embed_into(run.model, atlas)
    assert tiny_h5ad[0].stat().st_mtime_ns == before


# Processes, threads, what is never done


def test_it_travels_to_another_process(sound: Path, collection: Path) -> None:
    for path in (sound, collection):
        atlas = opened(path)
        again = pickle.loads(pickle.dumps(atlas))
        assert (
            again.uuid == atlas.uuid and (again.split == atlas.split).all() and again.label_names == atlas.label_names
        )
        assert (again.read_rows(30, 60) != atlas.read_rows(30, 60)).nnz == 0
        assert json.loads(json.dumps(atlas.asked)) == atlas.asked


def test_it_is_not_opened_again_where_the_file_is_another(tmp_path: Path) -> None:
    path = h5ad(tmp_path / "a.h5ad")
    packed = pickle.dumps(opened(path))
    h5ad(path, counts() * 2)
    with pytest.raises(StoreError, match="was changed since it was opened"):
        pickle.loads(packed)


@pytest.mark.skipif(sys.platform == "win32", reason="a fork")
def test_a_fork_reads_too_and_threads_read_at_once(sound: Path) -> None:
    atlas = opened(sound)
    wanted = counts().toarray()
    starts = [*range(0, N_CELLS, 3)] * 3

    def is_right(start: int) -> bool:
        return bool((atlas.read_rows(start, start + 11).toarray() == wanted[start : start + 11]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_right, starts))
    import multiprocessing
    import warnings

    with warnings.catch_warnings(action="ignore"):  # that a fork beside threads may hang: what is asked here
        child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if is_right(50) else 1))
        child.start()
    child.join(60)
    assert child.exitcode == 0 and is_right(50)


def test_totals_are_counted_once_whoever_asks(sound: Path) -> None:
    calls: list[int] = []
    atlas = opened(sound, progress=lambda done, total, what: calls.append(done))
    assert calls == []
    threads = [threading.Thread(target=lambda: atlas.total) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.count(N_CELLS) == 1 and atlas.mean_total > 0 and calls.count(N_CELLS) == 1


def test_no_file_is_held_open_and_none_is_written(tmp_path: Path) -> None:
    path = MADE["h5ad"](tmp_path)
    before = path.read_bytes()
    atlas = opened(path)
    with Stream(atlas, atlas.rows(), StreamConfig(minibatch_cells=20, block_cells=8)) as stream:
        next(stream.minibatches(0))
        held = [
            os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit() and is_link(fd)
        ]
        assert str(path) not in held
        with h5py.File(path, "r+"):  # HDF5 refuses a writer where somebody reads
            pass
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["a.h5ad"]


def is_link(fd: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_labels_by_hand_go_to_a_folder_that_was_named(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"open_foreign\(file, journal="):
        opened(sound).labels.label([3], "mine")
    atlas = opened(sound, journal=tmp_path / "labels")
    atlas.labels.label([3, 9], "mine")
    atlas.labels.close()
    again = opened(sound, journal=tmp_path / "labels")
    assert np.flatnonzero(again.labels.current() == "mine").tolist() == [3, 9]
    with pytest.raises(StoreError, match="Ingest it"):
        again.write_labels()


@pytest.mark.parametrize("do", ["write_obsm", "obsm_writer", "copy_to", "csr", "layer"])
def test_what_only_a_store_can_do_says_so(sound: Path, tmp_path: Path, do: str) -> None:
    atlas = opened(sound)
    acts = {
        "write_obsm": lambda: atlas.write_obsm("X_mine", np.zeros((N_CELLS, 2))),
        "obsm_writer": lambda: atlas.obsm_writer("X_mine", 2),
        "copy_to": lambda: atlas.copy_to(tmp_path / "b.zarr"),
        "csr": atlas.csr,
        "layer": lambda: atlas.matrix("layers/spliced"),
    }
    with pytest.raises(StoreError, match=r"[Ii]ngest it"):
        acts[do]()


# Refused


FAULTS = [
    (("data", 300, -1), CountsError, r"are negative \(cell cell\d+, gene g\d+: -1; .* in rows \d+\.\.\d+\)"),
    (("data", 300, np.nan), CountsError, r"NaN or infinite \(cell"),
    (("data", 300, np.inf), CountsError, r"NaN or infinite \(cell"),
    (("data", 300, 0.5), CountsError, r"no whole numbers.* \(cell.*pass the one with the counts as `counts`"),
    (("data", 300, 1e17), CountsError, "too large"),
    (("indices", 300, N_GENES), SourceError, r"gene index of `X` in rows \d+\.\.\d+ lies outside 0\.\.52"),
    (("indices", 300, -1), SourceError, r"gene index of `X` in rows \d+\.\.\d+ lies outside 0\.\.52"),
]


@pytest.mark.parametrize(
    ("kind", "fault", "error", "said"),
    [("h5ad, gzip, in chunks", *fault) for fault in FAULTS]
    + [("zarr v3, in shards", *FAULTS[i]) for i in (0, 6)]
    + [pytest.param("zarr v2", *FAULTS[i], marks=pytest.mark.slow) for i in (3, 5)],
)
def test_what_is_no_count_is_refused_where_it_is_read(
    tmp_path: Path, kind: str, fault: tuple[str, int, float], error: type[Exception], said: str
) -> None:
    path = MADE[kind](tmp_path)
    part, place, value = fault
    atlas = opened(path)
    row = int(np.searchsorted(atlas.matrix().indptr, place, side="right")) - 1
    root = h5py.File(path, "r+") if path.is_file() else zarr.open_group(path, mode="r+", use_consolidated=False)
    if part == "indices" and value < 0 and root["X/indices"].dtype.kind == "u":
        value = 65_535
    root[f"X/{part}"][place : place + 1] = np.array([value], root[f"X/{part}"].dtype)
    if path.is_file():
        root.close()
    atlas = opened(path)
    for read in (lambda: atlas.read_rows(row - 2, row + 2), lambda: atlas.total, lambda: atlas.read_cells([row])):
        with pytest.raises(error, match=said) as caught:
            read()
        assert str(path) in str(caught.value)
    assert (atlas.read_rows(row + 1, N_CELLS) != counts()[row + 1 :]).nnz == 0
    with Stream(atlas, np.arange(N_CELLS), StreamConfig(minibatch_cells=20, block_cells=8), mean_total=1.0) as stream:
        with pytest.raises(error, match=said):
            list(stream.minibatches(0))


def test_a_gene_named_twice_in_a_cell_is_refused_and_in_two_cells_is_not(tmp_path: Path) -> None:
    path = MADE["h5ad, genes in any order"](tmp_path)
    with h5py.File(path, "r+") as file:
        first, last = np.asarray(file["X/indptr"])[100:102]
        assert last - first > 3
        file["X/indices"][first + 2] = file["X/indices"][first]
    with pytest.raises(
        SourceError, match=r"names one gene twice \(cell cell100, row 100, gene g\d+\).*Ingest the file"
    ):
        opened(path).read_rows(90, 110)
    assert (opened(path).read_rows(101, N_CELLS) != counts()[101:]).nnz == 0


def test_a_matrix_by_gene_and_other_kinds_of_files_are_refused(tmp_path: Path, tiny_h5ad: list[Path]) -> None:
    with pytest.raises(SourceError, match=r"stored by gene \(CSC\).*Ingest it"):
        open_foreign(h5ad(tmp_path / "a.h5ad", counts().tocsc()))
    adata = made()
    adata.var_names = ["g0", "g0", *adata.var_names[2:]]
    adata.write_h5ad(tmp_path / "b.h5ad")
    with pytest.raises(GeneMismatchError, match=r'1 gene names stand for more.*Ingest it with duplicates="sum"'):
        open_foreign(tmp_path / "b.h5ad")
    assert open_foreign(tmp_path / "b.h5ad", gene_names="gene_ids").genes[1] == "E1"
    with pytest.raises(SourceError, match="does not exist"):
        open_foreign(tmp_path / "none.h5ad")
    with pytest.raises(SourceError, match="a path on this machine was wanted"):
        open_foreign("s3://lab/a.h5ad")
    import hostile

    (tmp_path / "bases").mkdir()
    hostile.write_bases(tmp_path / "bases")
    for name in ("tenx.h5", "mtx"):
        with pytest.raises(SourceError, match=r"is of the kind.*Ingest it"):
            open_foreign(tmp_path / "bases" / name)


@pytest.mark.parametrize("kind", ["h5ad", "h5ad, dense", "zarr v3, in shards"])
def test_a_file_that_was_written_again_gives_no_cells(tmp_path: Path, kind: str) -> None:
    (tmp_path / "new").mkdir()
    path, new = MADE[kind](tmp_path), MADE[kind](tmp_path / "new")
    atlas = opened(path)
    wanted, vectors = atlas.read_rows(0, 50), atlas.obsm_rows("X_ref")
    vectors.read(0, 5)
    if path.is_dir():
        shutil.rmtree(path)
        new.rename(path)
    else:
        os.replace(new, path)
    for read in (lambda: atlas.read_rows(0, 50), lambda: atlas.label, lambda: vectors.read(0, 5)):
        with pytest.raises(StoreError, match=r"was changed while it was open, so its cells may be others"):
            read()
    assert (opened(path).read_rows(0, 50) != wanted).nnz == 0
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises((SourceError, StoreError), match=r"is gone|was changed while it was open"):
        atlas.read_rows(0, 50)


@pytest.mark.parametrize("place", [0.01, 0.5, 0.99])
def test_damaged_values_are_an_error_that_names_file_and_rows(tmp_path: Path, place: float) -> None:
    path = MADE["h5ad, gzip, in chunks"](tmp_path)
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(int(place * file["X/data"].id.get_num_chunks()))
    flip(path, chunk.byte_offset + chunk.size // 2, 4)
    with pytest.raises((SourceError, CountsError), match=rf"{path}.*[Rr]ows \d+") as caught:
        opened(path).read_rows(0, N_CELLS)
    assert "Rows 1 to 195 of `X` were read" in str(caught.value) or isinstance(caught.value, CountsError)


def test_a_missing_chunk_is_zeros_as_anndata_reads_it_or_an_error(tmp_path: Path) -> None:
    for kind, chunk in (("zarr v2, in chunks", "X/data/2"), ("zarr v3, in shards", "X/data/c/1")):
        folder = tmp_path / kind
        folder.mkdir()
        path = MADE[kind](folder)
        (path / chunk).unlink()
        try:
            got = opened(path).read_rows(0, N_CELLS)
        except SourceError as error:
            assert str(path) in str(error)
        else:
            assert (got != plain(path).X).nnz == 0


# Real data


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_real_file_streams_an_epoch_whose_sums_are_anndatas(shared_data: Path) -> None:
    files = sorted(shared_data.glob("*.h5ad"))
    assert len(files) >= 10
    for path in files:
        wanted = np.asarray(plain(path).X.sum(axis=1), np.float64).ravel()
        atlas = open_foreign(path, label="cell_type", batch="batch", progress=False)
        assert np.array_equal(atlas.total, wanted)
        config = StreamConfig(minibatch_cells=512, block_cells=64, buffer_cells=4096)
        sums, n_seen = np.zeros(atlas.n_cells), np.zeros(atlas.n_cells, int)
        with Stream(atlas, None, config, values="counts") as stream:
            for m in stream.minibatches(0):
                cell = m.cell.numpy()
                sums[cell] = m.x.double().sum(dim=1).numpy()
                n_seen[cell] += 1
                assert (m.total.numpy() == wanted[cell].astype(np.float32)).all()
        assert (n_seen == 1).all() and np.array_equal(sums, wanted), path
