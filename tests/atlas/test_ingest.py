"""Sources to store: nothing lost, nothing half written, one clear error for each bad input."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.layout import Layout
from livelatent.atomic import only_writer
from livelatent.errors import (
    ColumnError,
    CountsError,
    DiskSpaceError,
    GeneMismatchError,
    MemoryLimitError,
    SourceError,
    StoreBusyError,
    StoreError,
    StoreExistsError,
)

TINY = Layout(chunk_cells=16, shard_elements=9_000)


def small(values: object = None, genes: list[str] | None = None, **obs: object) -> anndata.AnnData:
    """Six cells x 4 genes."""
    counts = np.arange(24, dtype=np.float32).reshape(6, 4) if values is None else np.asarray(values)
    table = pd.DataFrame(obs, index=pd.Index([f"c{i}" for i in range(len(counts))], dtype=object))
    names = pd.Index(genes or ["CD3E", "CD19", "LYZ", "NKG7"], dtype=object)
    return anndata.AnnData(sparse.csr_matrix(counts), obs=table, var=pd.DataFrame(index=names))


def in_source_order(atlas: Atlas) -> np.ndarray:
    """The matrix of a one-source store, its cells as in the source."""
    return atlas.read_rows(0, atlas.n_cells).toarray()[np.argsort(atlas.obs["source_row"].to_numpy())]


def test_every_cell_of_every_source_is_in_the_store_once(tiny_atlas: Atlas, tiny_adatas: dict) -> None:
    counts = tiny_atlas.read_rows(0, 607)
    assert counts.dtype == np.uint16
    for name, adata in tiny_adatas.items():
        mine = (tiny_atlas.obs["source"] == name).to_numpy()
        rows = tiny_atlas.obs["source_row"].to_numpy()[mine]
        assert sorted(rows) == list(range(adata.n_obs))
        assert (counts[mine].toarray() == adata.X.toarray()[rows]).all()
        for column in ("cell_type", "donor", "age"):
            got, wanted = tiny_atlas.obs[column][mine].astype(object), adata.obs[column].iloc[rows].astype(object)
            assert [v for v in got if v == v] == [v for v in wanted if v == v]
    assert tiny_atlas.obs.index.is_unique
    assert tiny_atlas.obs["barcode"].str.fullmatch(r"cell\d+").all()


def test_rows_are_shuffled_and_a_seed_tells_how(tiny_h5ad: list[Path], tmp_path: Path) -> None:
    orders = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        atlas = ingest(tiny_h5ad[0], tmp_path / f"{name}.zarr", seed=seed, layout=TINY)
        orders.append(atlas.obs["source_row"].tolist())
    assert orders[0] == orders[1] != orders[2]
    place = np.corrcoef(orders[0], np.arange(370))[0, 1]
    assert abs(place) < 0.2


@pytest.mark.parametrize(
    ("largest", "kind"), [(65_535, "uint16"), (65_536, "uint32"), (2**32, "float32"), (2**32 + 2**8 + 1, "float64")]
)
def test_counts_are_kept_in_the_first_lossless_type(tmp_path: Path, largest: int, kind: str) -> None:
    values = np.ones((6, 4))
    values[2, 1] = largest
    small(values).write_h5ad(tmp_path / "a.h5ad")
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr")
    assert atlas.read_rows(0, 6).dtype == kind
    assert (in_source_order(atlas) == values).all()
    assert (np.sort(atlas.to_anndata().X.toarray().astype(float), axis=0) == np.sort(values, axis=0)).all()


@pytest.mark.parametrize("form", ["dense", "layer", "raw", "int", "gzip"])
def test_counts_are_read_from_where_they_are(tmp_path: Path, form: str) -> None:
    adata = small()
    wanted = adata.X.toarray()
    counts = "X"
    if form == "dense":
        adata.X = wanted
    elif form == "layer":
        adata.layers["counts"], adata.X, counts = adata.X.copy(), adata.X * 0.5, "counts"
    elif form == "raw":
        adata.raw = adata.copy()
        adata.X, counts = adata.X * 0.5, "raw"
        adata = adata[:, :2].copy()
    elif form == "int":
        adata.X = adata.X.astype(np.int64)
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip" if form == "gzip" else None)
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", counts=counts)
    assert (in_source_order(atlas) == wanted).all()
    assert atlas.mean_total == wanted.sum() / 6


def test_totals_are_over_all_genes_of_the_source(tmp_path: Path) -> None:
    small().write_h5ad(tmp_path / "a.h5ad")
    atlas = ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", genes=["NKG7", "CD19"])
    values = np.arange(24).reshape(6, 4)
    assert atlas.genes.tolist() == ["NKG7", "CD19"]
    assert (in_source_order(atlas) == values[:, [3, 1]]).all()
    assert sorted(atlas.total) == sorted(values.sum(axis=1))
    assert atlas.obs["livelatent_n_genes"].tolist() == [3 if r == 0 else 4 for r in atlas.obs["source_row"]]


@pytest.mark.parametrize(("join", "genes"), [("inner", ["LYZ", "CD3E"]), ("outer", ["MS4A1", "LYZ", "CD3E", "NKG7"])])
def test_genes_are_joined(tmp_path: Path, join: str, genes: list[str]) -> None:
    one, two = np.arange(1, 19).reshape(6, 3), np.arange(100, 118).reshape(6, 3)
    for name, values, names in (("a", one, ["MS4A1", "LYZ", "CD3E"]), ("b", two, ["CD3E", "NKG7", "LYZ"])):
        adata = small(values.astype(np.float32), genes=names)
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    atlas = ingest([tmp_path / "a.h5ad", tmp_path / "b.h5ad"], tmp_path / "x.zarr", join=join)
    assert atlas.genes.tolist() == genes
    table = pd.DataFrame(atlas.read_rows(0, 12).toarray(), columns=genes, dtype=float)
    for name, values, names in (("a.h5ad", one, ["MS4A1", "LYZ", "CD3E"]), ("b.h5ad", two, ["CD3E", "NKG7", "LYZ"])):
        mine = (atlas.obs["source"] == name).to_numpy()
        rows = atlas.obs["source_row"].to_numpy()[mine]
        for gene in genes:
            wanted = values[rows, names.index(gene)] if gene in names else np.zeros(6)
            assert table[gene][mine].tolist() == wanted.tolist()


def test_columns_that_sources_do_not_share_are_missing_where_absent(tmp_path: Path) -> None:
    small(kind=["x", "y", "x", "y", "x", None], score=range(6), flag=[True] * 6).write_h5ad(tmp_path / "a.h5ad")
    small(kind=[1, 2, 3, 4, 5, 6], source="mine").write_h5ad(tmp_path / "b.h5ad")
    atlas = ingest([tmp_path / "a.h5ad", tmp_path / "b.h5ad"], tmp_path / "x.zarr", label="kind", batch="source")
    a = (atlas.obs["source"] == "a.h5ad").to_numpy()
    assert atlas.label_names == ("1", "2", "3", "4", "5", "6", "x", "y") and (atlas.label < 0).sum() == 1
    assert atlas.obs["score"][~a].isna().all() and sorted(atlas.obs["score"][a]) == list(range(6))
    assert atlas.obs["source_original"][~a].tolist() == ["mine"] * 6


def test_nullable_numbers_of_several_sources_keep_what_is_missing(tmp_path: Path) -> None:
    for name in "ab":
        n, flag = pd.array([1, None, 3, 4, 5, 6], dtype="Int64"), pd.array([True, None] * 3, dtype="boolean")
        small(n=n, flag=flag).write_h5ad(tmp_path / f"{name}.h5ad")
    atlas = ingest([tmp_path / "a.h5ad", tmp_path / "b.h5ad"], tmp_path / "x.zarr")
    assert sorted(atlas.obs["n"].dropna()) == [1, 1, 3, 3, 4, 4, 5, 5, 6, 6] and atlas.obs["flag"].isna().sum() == 6


def test_splits_are_the_last_tenths(tiny_atlas: Atlas) -> None:
    split = tiny_atlas.split
    assert (split[:487] == "train").all() and (split[487:547] == "calibration").all()
    assert (split[547:] == "validation").all()


def test_the_store_names_its_format_and_sources(tiny_atlas: Atlas, tiny_h5ad: list[Path]) -> None:
    facts = anndata.read_zarr(tiny_atlas.path).uns["livelatent"]
    assert (int(facts["format"]), facts["uuid"], facts["label"], facts["batch"]) == (
        1,
        tiny_atlas.uuid,
        "cell_type",
        "donor",
    )
    sources = json.loads(str(facts["sources"]))
    assert [(s["name"], s["n_cells"], s["size"]) for s in sources] == [
        (path.name, n, path.stat().st_size) for path, n in zip(tiny_h5ad, (370, 237), strict=True)
    ]
    assert (tiny_atlas.obs["store_uuid"] == tiny_atlas.uuid).all()


def test_an_export_of_a_store_keeps_its_cells_identity(own_atlas: Atlas, tmp_path: Path) -> None:
    adata = own_atlas.to_anndata(np.arange(50, 150))
    adata.uns["livelatent"] = {"uuid": own_atlas.uuid}
    adata[:, :30].copy().write_h5ad(tmp_path / "part.h5ad")
    again = ingest(tmp_path / "part.h5ad", tmp_path / "again.zarr", label="cell_type")
    origin = ["source", "source_row", "livelatent_total"]
    before = own_atlas.obs.iloc[50:150][origin].astype({"source": str}).sort_values(origin[:2])
    after = again.obs[origin].astype({"source": str}).sort_values(origin[:2])
    assert after.to_numpy().tolist() == before.to_numpy().tolist()
    assert set(again.obs["store_uuid"]) == {again.uuid} != {own_atlas.uuid}


def test_progress_counts_cells(tiny_h5ad: list[Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    ingest(tiny_h5ad, tmp_path / "p.zarr", progress=lambda *step: seen.append(step))
    assert seen[0] == (0, 607, "reading") and (607, 607, "reading") in seen and (607, 607, "writing") in seen
    assert seen[-1] == (607, 607, "tables (2 empty cells kept)")


# Bad input


def write_small(path: Path, values: object = None, **more: object) -> Path:
    adata = small(values, **more)
    adata.write_h5ad(path)
    return path


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1.0, "negative"),
        (np.nan, "NaN or infinite"),
        (np.inf, "NaN or infinite"),
        (1.5, "log-normalised"),
        (99.5, "no whole"),
    ],
)
def test_values_that_are_no_counts_are_refused(tmp_path: Path, value: float, words: str) -> None:
    values = np.ones((6, 4), np.float32)
    values[4, 2] = value
    path = write_small(tmp_path / "a.h5ad", values)
    with pytest.raises(CountsError, match=words) as caught:
        ingest(path, tmp_path / "a.zarr")
    assert str(path) in str(caught.value) and "cell c4, gene LYZ" in str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} == {"a.h5ad", ".a.zarr.lock"}


def test_logs_are_told_where_the_counts_are(tmp_path: Path) -> None:
    adata = small()
    adata.layers["umi"] = adata.X.copy()
    adata.X = adata.X.log1p()
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(CountsError, match=r'log-normalised.*also has "umi"'):
        ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr")
    with pytest.raises(SourceError, match=r'no matrix `layers/counts`.*"X", "umi"'):
        ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr", counts="counts")


def test_nothing_but_zeros_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CountsError, match="every value is 0"):
        ingest(write_small(tmp_path / "a.h5ad", np.zeros((6, 4))), tmp_path / "a.zarr")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = write_small(tmp_path / "a.h5ad", np.ones((6, 4)))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(SourceError, match=r"a\.h5ad"):
        ingest(path, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_what_is_no_anndata_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5ad").write_text("cell,gene\n")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["X"] = np.ones((3, 3))
    for name, words in (("text.h5ad", "no HDF5"), ("other.h5ad", "no group `obs`"), ("none.h5ad", "does not exist")):
        with pytest.raises(SourceError, match=words):
            ingest(tmp_path / name, tmp_path / "a.zarr")
    with pytest.raises(SourceError, match="folder"):
        ingest(tmp_path, tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("part", "at", "value", "words"),
    [
        ("indptr", 2, 23, "pointers of `X` are damaged"),
        ("indices", 3, 4, "gene index"),
        ("indices", 3, -1, "gene index"),
        ("indptr", 6, 9, "pointers of `X` are damaged"),
    ],
)
def test_a_matrix_that_points_outside_itself_is_refused(
    tmp_path: Path, part: str, at: int, value: int, words: str
) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        file["X"][part][at] = value
    with pytest.raises(SourceError, match=words):
        ingest(path, tmp_path / "a.zarr")


def put(where: str, value: object, **kind: object) -> Callable[[h5py.File], None]:
    """Replace one dataset of a file, its attributes kept."""

    def change(file: h5py.File) -> None:
        folder, _, name = where.rpartition("/")
        group = file[folder or "/"]
        attributes = dict(group[name].attrs) if name in group else {}
        group.pop(name, None)
        if value is None:
            group.create_group(name)
        else:
            group.create_dataset(name, data=value, **kind)
        group[name].attrs.update(attributes)

    return change


def column(name: str) -> Callable[[h5py.File], None]:
    """Add an obs column of a name that anndata itself may not write."""

    def change(file: h5py.File) -> None:
        added = file["obs"].create_dataset(name, data=np.arange(6))
        added.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        file["obs"].attrs["column-order"] = np.array([name], dtype=object)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("X/data", None), "no list of numbers"),
        (put("X/data", np.ones((23, 1))), "no list of numbers"),
        (put("X/data", np.array([b"1"] * 23)), "holds"),
        (put("X/data", np.ones(23, complex)), "holds complex"),
        (put("X/indices", np.full(23, 0.5)), "`X` has no list of integers `indices`"),
        (put("X/indptr", np.array([b"x"] * 7)), "`X` has no list of integers `indptr`"),
        (put("X/indptr", np.array([0, 23, 23, 23, 23, 23, 23])), "23 values, but there is room for 4"),
        (put("X", np.full((6, 4), b"x")), "holds"),
        (lambda file: file["X"].attrs.__setitem__("shape", [6]), "does not say its shape"),
        (lambda file: file["X"].attrs.__setitem__("shape", [2**60, 2**60]), "1152921504606846976"),
        (put("var/_index", np.array([b"\xff", b"a", b"b", b"c"])), "`var` can't be read"),
        (column(".."), "can't hold"),
        (column("zarr.json"), "can't hold"),
        (column("n" * 300), "can't hold"),
        (put("obsm/zarr.json", np.ones((6, 2))), "can't hold"),
    ],
)
def test_what_no_anndata_file_should_hold_is_refused_by_name(
    tmp_path: Path, change: Callable[[h5py.File], None], words: str
) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises((SourceError, CountsError), match=words) as caught:
        ingest(path, tmp_path / "a.zarr")
    assert str(path) in str(caught.value)
    assert {p.name for p in tmp_path.iterdir()} - {".a.zarr.lock"} == {"a.h5ad"}


def test_bytes_of_older_writers_are_text(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad", kind=pd.Categorical(["T", "é"] * 3), donor=["x"] * 6)
    with h5py.File(path, "r+") as file:
        put("obs/kind/categories", np.array([b"T", "é".encode()]))(file)
        put("obs/donor", np.array([b"d1", b"d2"] * 3))(file)
        put("var/_index", np.array([b"A", b"B", b"C", b"D"]))(file)
        for name in ("obs/kind/categories", "obs/donor", "var/_index"):
            file[name].attrs["encoding-type"] = "array"
    atlas = ingest(path, tmp_path / "a.zarr", label="kind", batch="donor")
    assert (atlas.label_names, atlas.batch_names) == (("T", "é"), ("d1", "d2"))
    assert atlas.genes.tolist() == ["A", "B", "C", "D"]


def test_half_precision_counts_are_read(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        put("X/data", file["X/data"][:].astype(np.float16))(file)
    assert (in_source_order(ingest(path, tmp_path / "a.zarr")) == np.arange(24).reshape(6, 4)).all()


def test_counts_that_float64_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    values = np.ones((6, 4), np.uint64)
    values[2, 1] = 2**63 + 1
    with pytest.raises(CountsError, match=r"too large.*cell c2, gene CD19"):
        ingest(write_small(tmp_path / "a.h5ad", values), tmp_path / "a.zarr")


@pytest.mark.parametrize("shape", [(0, 4), (6, 0)])
def test_no_cells_or_no_genes_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    adata = small()[: shape[0], : shape[1]].copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(SourceError, match=f"{shape[0]} cells x {shape[1]} genes"):
        ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr")


def test_cells_of_one_gene_make_a_whole_store(tmp_path: Path) -> None:
    # Every index is 0: the shard that zarrs would not write if 0 were its fill value.
    atlas = ingest(write_small(tmp_path / "a.h5ad", [[1], [2], [3]], genes=["LYZ"]), tmp_path / "a.zarr")
    assert in_source_order(atlas).tolist() == [[1], [2], [3]]
    assert anndata.read_zarr(atlas.path).X.sum() == 6


def test_gene_names_missing_or_twice_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not unique"):
        write_small(tmp_path / "a.h5ad", genes=["A", "B", "A", "C"])
    with pytest.raises(GeneMismatchError, match=r'first: A.*duplicates="sum"'):
        ingest(tmp_path / "a.h5ad", tmp_path / "a.zarr")
    write_small(tmp_path / "b.h5ad", genes=["A", "", "D", "C"])
    with pytest.raises(GeneMismatchError, match=r"no name.*row 1"):
        ingest(tmp_path / "b.h5ad", tmp_path / "a.zarr")


def test_sources_without_a_common_gene_are_refused_with_a_hint(tmp_path: Path) -> None:
    human, mouse = (
        write_small(tmp_path / "h.h5ad"),
        write_small(tmp_path / "m.h5ad", genes=["Cd3e", "Cd19", "Lyz", "Nkg7"]),
    )
    other = write_small(tmp_path / "o.h5ad", genes=["ENSG1", "ENSG2", "ENSG3", "ENSG4"])
    with pytest.raises(GeneMismatchError, match="two species"):
        ingest([human, mouse], tmp_path / "a.zarr")
    with pytest.raises(GeneMismatchError, match="share"):
        ingest([human, other], tmp_path / "a.zarr")


def test_genes_asked_for_and_absent_are_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with pytest.raises(GeneMismatchError, match=r"1 of the 3 genes.*first: NONE.*outer"):
        ingest(path, tmp_path / "a.zarr", genes=["LYZ", "NONE", "CD19"])
    atlas = ingest(path, tmp_path / "a.zarr", genes=["LYZ", "NONE", "CD19"], join="outer")
    assert (in_source_order(atlas)[:, 1] == 0).all() and in_source_order(atlas)[5].tolist() == [22, 0, 21]
    with pytest.raises(GeneMismatchError, match="Check species"):
        ingest(path, tmp_path / "b.zarr", genes=["NO1", "NO2", "LYZ"], join="outer")


def test_a_column_that_is_absent_or_empty_is_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad", kind=["T"] * 6, gone=pd.Categorical([None] * 6, categories=["T"]))
    for role, column, words in (
        ("label", "type", "no column"),
        ("batch", "donor", "no column"),
        ("label", "gone", "missing"),
    ):
        with pytest.raises(ColumnError, match=words) as caught:
            ingest(path, tmp_path / "a.zarr", **{role: column})
        assert str(path) in str(caught.value)


def test_a_type_with_one_cell_is_a_type(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad", kind=["T", "T", "rare", "T", "T", "B"])
    atlas = ingest(path, tmp_path / "a.zarr", label="kind", unlabelled=["B"])
    assert atlas.label_names == ("T", "rare") and sorted(atlas.label) == [-1, 0, 0, 0, 0, 1]


def test_a_memory_limit_that_is_too_low_names_the_minimum_and_the_minimum_works(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with pytest.raises(MemoryLimitError, match=r"at least (\d+)MB") as caught:
        ingest(path, tmp_path / "a.zarr", memory="1MB")
    minimum = str(caught.value).split("at least ")[1].split()[0]
    assert ingest(path, tmp_path / "a.zarr", memory=minimum).n_cells == 6
    for nonsense in ("4 potatoes", "", "-1", ".", "1.2.3GB", "nan"):
        with pytest.raises(MemoryLimitError, match="4GB"):
            ingest(path, tmp_path / "b.zarr", memory=nonsense)
    for little in (0, -1, "0"):
        with pytest.raises(MemoryLimitError, match="at least"):
            ingest(path, tmp_path / "b.zarr", memory=little)


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    from livelatent.atomic import need_space

    with pytest.raises(DiskSpaceError, match="Make room"):
        need_space(tmp_path / "no" / "such" / "folder", 10**18, "it")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["reading", "writing"])
def test_a_disk_that_fills_up_meanwhile_leaves_what_was_there(tiny_h5ad: list[Path], tmp_path: Path, when: str) -> None:
    # A limit on file sizes stands in for the disk: the system refuses a write that crosses it.
    before = ingest(tiny_h5ad[1], tmp_path / "a.zarr").uuid
    names = {path.name for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    seen = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(done: int, total: int, what: str) -> None:
        if what == when:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))

    try:
        with pytest.raises(DiskSpaceError, match="became full"):
            ingest(tiny_h5ad[0], tmp_path / "a.zarr", overwrite=True, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, seen)
    assert Atlas.open(tmp_path / "a.zarr").uuid == before
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(("first", "second"), [("a.zarr", "a"), ("a", "a.zarr")])
def test_a_name_that_would_share_another_stores_manifest_and_labels_is_refused(
    tmp_path: Path, first: str, second: str
) -> None:
    path = write_small(tmp_path / "source.h5ad")
    ingest(path, tmp_path / first)
    for overwrite in (False, True):
        with pytest.raises(StoreExistsError, match=r"would share a\.manifest\.json"):
            ingest(path, tmp_path / second, overwrite=overwrite)
    assert Atlas.open(tmp_path / first).n_cells == 6


def test_a_store_named_without_its_ending_is_pointed_to(tmp_path: Path) -> None:
    ingest(write_small(tmp_path / "source.h5ad"), tmp_path / "a.zarr")
    with pytest.raises(StoreError, match=r"a\.zarr does\. Name that one"):
        Atlas.open(tmp_path / "a")


def test_an_existing_store_is_replaced_only_when_asked_and_never_when_it_has_labels(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    first = ingest(path, tmp_path / "a.zarr")
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        ingest(path, tmp_path / "a.zarr")
    second = ingest(path, tmp_path / "a.zarr", overwrite=True)
    assert second.uuid != first.uuid
    second.labels.label([0], "mine")
    second.labels.close()
    with pytest.raises(StoreExistsError, match="labels given by hand"):
        ingest(path, tmp_path / "a.zarr", overwrite=True)
    assert Atlas.open(tmp_path / "a.zarr").labels.current()[0] == "mine"


def test_what_is_no_store_is_never_replaced(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    (tmp_path / "file.zarr").write_text("precious")
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "thesis.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    for target in ("file.zarr", "folder.zarr"):
        with pytest.raises(StoreExistsError, match="no Zarr store"):
            ingest(path, tmp_path / target, overwrite=True)
    for target in ("a.h5ad", "."):
        with pytest.raises((StoreExistsError, SourceError), match=r"among the sources|no Zarr store"):
            ingest(path, tmp_path / target, overwrite=True)
    with pytest.raises(StoreExistsError, match="no place for a store"):
        ingest(path, "/", overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_to_a_store_is_that_store_with_its_labels(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    first = ingest(path, tmp_path / "a.zarr")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "a.zarr")
    linked = Atlas.open(tmp_path / "link.zarr")
    linked.labels.label([0], "mine")
    linked.labels.close()
    assert len(first.labels.entries) == 1
    with pytest.raises(StoreExistsError, match="labels given by hand"):
        ingest(path, tmp_path / "link.zarr", overwrite=True)


@pytest.mark.parametrize("name", ["blood [1]*?.zarr", "with \"quotes' and é.zarr"])
def test_leftovers_are_told_by_their_whole_name(tmp_path: Path, name: str) -> None:
    path = write_small(tmp_path / "a.h5ad")
    mine = tmp_path / f".{name}.0123abcd.partial"
    neighbours = tmp_path / ".blood.zarr.0123abcd.partial"
    for folder in (mine, neighbours):
        folder.mkdir()
    assert ingest(path, tmp_path / name).n_cells == 6
    ingest(path, tmp_path / "blood")
    assert neighbours.exists() and not mine.exists()


def test_a_source_that_is_gone_meanwhile_is_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with pytest.raises(SourceError, match="changed while"):
        ingest(path, tmp_path / "a.zarr", progress=lambda done, total, what: path.unlink(missing_ok=True))
    assert not (tmp_path / "a.zarr").exists()


def test_a_store_that_is_being_written_is_busy(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")
    with only_writer(tmp_path / ".a.zarr.lock", "it"), pytest.raises(StoreBusyError):
        ingest(path, tmp_path / "a.zarr")


@pytest.mark.parametrize("when", ["reading", "writing", "tables (1 empty cells kept)"])
def test_an_interrupt_leaves_what_was_there_and_the_same_call_goes_on(
    tiny_h5ad: list[Path], tmp_path: Path, when: str
) -> None:
    before = ingest(tiny_h5ad[1], tmp_path / "a.zarr").uuid
    names = {path.name for path in tmp_path.iterdir()}

    def interrupt(done: int, total: int, what: str) -> None:
        if what == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        ingest(tiny_h5ad[0], tmp_path / "a.zarr", overwrite=True, progress=interrupt)
    assert "goes on from here" in stopped.value.__notes__[0]
    assert Atlas.open(tmp_path / "a.zarr").uuid == before
    plan = json.loads((tmp_path / ".a.zarr.ingest" / "plan.json").read_bytes())
    assert ingest(tiny_h5ad[0], tmp_path / "a.zarr", overwrite=True).uuid == plan["uuid"] != before
    assert {path.name for path in tmp_path.iterdir()} == names


def test_work_on_other_sources_or_with_other_options_is_begun_anew(tiny_h5ad: list[Path], tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if what == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(tiny_h5ad[0], tmp_path / "a.zarr", progress=interrupt)
    plan = json.loads((tmp_path / ".a.zarr.ingest" / "plan.json").read_bytes())
    atlas = ingest(tiny_h5ad[0], tmp_path / "a.zarr", seed=1)
    assert atlas.uuid != plan["uuid"]
    assert (
        atlas.obs["source_row"].tolist() == ingest(tiny_h5ad[0], tmp_path / "b.zarr", seed=1).obs["source_row"].tolist()
    )
    assert not (tmp_path / ".a.zarr.ingest").exists()


def test_a_failure_leaves_no_work_behind(tiny_h5ad: list[Path], tmp_path: Path) -> None:
    def fail(done: int, total: int, what: str) -> None:
        if what == "writing":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ingest(tiny_h5ad[0], tmp_path / "a.zarr", progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == [".a.zarr.lock"]


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = write_small(tmp_path / "a.h5ad")

    def touch(done: int, total: int, what: str) -> None:
        if what == "writing":
            os.utime(path, ns=(1, 1))

    with pytest.raises(SourceError, match="changed while"):
        ingest(path, tmp_path / "a.zarr", progress=touch)
    assert not (tmp_path / "a.zarr").exists()


KILLED = """
import sys, time
from livelatent.atlas import ingest
def stop(done, total, what):
    print(what, flush=True)
    if what.startswith(sys.argv[3]):
        time.sleep(60)
ingest(sys.argv[1], sys.argv[2], overwrite=True, progress=stop)
"""


# test_killed.py kills at other moments
@pytest.mark.parametrize("when", ["writing", pytest.param("tables", marks=pytest.mark.slow)])
def test_kill_9_leaves_what_was_there_and_the_next_ingest_goes_on(
    tiny_h5ad: list[Path], tmp_path: Path, when: str
) -> None:
    before = ingest(tiny_h5ad[1], tmp_path / "a.zarr").uuid
    arguments = [sys.executable, "-c", KILLED, str(tiny_h5ad[0]), str(tmp_path / "a.zarr"), when]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith(when):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert Atlas.open(tmp_path / "a.zarr").uuid == before
    assert ingest(tiny_h5ad[0], tmp_path / "a.zarr", overwrite=True).n_cells == 370
    assert {p.name for p in tmp_path.iterdir()} == {"a.zarr", "a.manifest.json", ".a.zarr.lock"}


@pytest.mark.parametrize("name", ["kang_pbmc_ctrl", "worm_l2_monocle3"])
def test_real_files_come_through_unchanged(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / f"{name}.h5ad"
    source = anndata.read_h5ad(path)
    atlas = ingest(path, tmp_path / "x.zarr", label="cell_type", batch="batch", memory="200MB")
    rows = atlas.obs["source_row"].to_numpy()
    assert (atlas.read_rows(0, atlas.n_cells) != source.X[rows]).nnz == 0
    assert atlas.true_labels.tolist() == source.obs["cell_type"].iloc[rows].tolist()
