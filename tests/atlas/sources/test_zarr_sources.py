"""Sources in Zarr, v2 and v3: what anndata wrote is what is read, and nothing leads outside or runs code."""

import json
import os
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

import reading
from livelatent.atlas import Atlas
from livelatent.atlas.sources import fingerprint_of, open_sources
from livelatent.errors import NoPermissionError, SourceError

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def small(n_cells: int = 17, n_genes: int = 9, seed: int = 0) -> anndata.AnnData:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.7, (n_cells, n_genes)).astype(np.float32)
    counts[3], counts[:, 2] = 0, 0
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(["T", "B", "NK é"], n_cells)),
            "age": rng.integers(0, 90, n_cells),
            "maybe": pd.array([None, *range(n_cells - 1)], dtype="Int64"),
            "dead": rng.random(n_cells) < 0.5,
        },
        index=pd.Index([f"c{i}" for i in range(n_cells)], dtype=object),
    )
    var = pd.DataFrame({"gene_ids": [f"E{i}" for i in range(n_genes)]}, index=[f"g{i}" for i in range(n_genes)])
    adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)
    adata.layers["by_gene"] = sparse.csc_matrix(counts * 2)
    adata.layers["dense"] = counts * 3
    adata.obsm["X_umap"] = rng.normal(size=(n_cells, 2))
    adata.uns["note"] = "x"
    return adata


def written(adata: anndata.AnnData, path: Path, zarr_format: int, *, is_sharded: bool = False) -> Path:
    with anndata.settings.override(auto_shard_zarr_v3=is_sharded):
        anndata.io.write_elem(zarr.open_group(path, mode="w", zarr_format=zarr_format), "/", adata)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[int, Path]:
    """Written once: Zarr takes its time over so many small files."""
    folder = tmp_path_factory.mktemp("stores")
    return {version: written(small(), folder / f"v{version}.zarr", version) for version in (2, 3)}


@pytest.fixture(params=[2, 3])
def store(tmp_path, stores, request) -> Path:
    return Path(shutil.copytree(stores[request.param], tmp_path / "a.zarr"))


@pytest.mark.parametrize("counts", ["X", "by_gene", "dense"])
def test_every_cell_and_column_is_as_it_was_written(store, tmp_path, counts):
    adata = small()
    (source,) = open_sources(store, counts=counts)
    wanted = adata.X if counts == "X" else adata.layers[counts]
    reading.assert_equal(source, adata, tmp_path / "s", wanted)
    assert (source.kind, source.name, source.left) == ("zarr", "a.zarr", ("uns/note",))
    assert set(source.layers) == {"by_gene", "dense"} - {counts}
    (rows,) = [np.vstack([part for _, part in source.obsm["X_umap"].chunks(6)])]
    assert (rows == adata.obsm["X_umap"]).all()
    assert open_sources(store, gene_names="gene_ids")[0].genes[1] == "E1"


@FEW
@given(
    zarr_format=st.sampled_from([2, 3]),
    chunk=st.integers(1, 40),
    per_shard=st.sampled_from([None, 1, 3]),
    form=st.sampled_from(["csr", "csc", "dense"]),
    codec=st.sampled_from(["blosc", "zstd", "gzip", "none", "crc32c"]),
    kind=st.sampled_from(["uint16", "float32", "float64", "int64", ">i4", "float16"]),
    max_elements=st.integers(1, 50),
    first=st.integers(0, 16),
)
def test_chunks_of_any_cut_hold_the_matrix(
    tmp_path_factory, stores, zarr_format, chunk, per_shard, form, codec, kind, max_elements, first
):
    path = tmp_path_factory.mktemp("z") / "a.zarr"
    dense = small(seed=chunk).X.toarray().astype(float)
    shutil.copytree(stores[zarr_format], path)
    root = zarr.open_group(path, mode="r+", zarr_format=zarr_format, use_consolidated=False)
    del root["X"]
    made = {"compressors": codecs_of(codec, zarr_format)}
    if per_shard and zarr_format == 3:
        made["shards"] = (chunk * per_shard,) * (2 if form == "dense" else 1)
    if form == "dense":
        array = root.create_array("X", data=dense.astype(kind), chunks=(chunk, chunk), **made)
        array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    else:
        csr = (sparse.csr_matrix if form == "csr" else sparse.csc_matrix)(dense)
        group = root.create_group("X")
        group.attrs.update({"encoding-type": f"{form}_matrix", "encoding-version": "0.1.0", "shape": dense.shape})
        for name, values in (("data", csr.data.astype(kind)), ("indices", csr.indices), ("indptr", csr.indptr)):
            group.create_array(name, data=values, chunks=(chunk,), **made)
    (source,) = open_sources(path)
    got = reading.whole(source.counts, 9, path.parent / "s", max_elements, first)
    assert (got.toarray() == dense[first:]).all()


def codecs_of(name: str, zarr_format: int) -> object:
    if zarr_format == 2:
        import numcodecs

        return {"blosc": numcodecs.Blosc(), "zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip()}.get(name)
    codecs = {"blosc": [zarr.codecs.BloscCodec()], "zstd": [zarr.codecs.ZstdCodec()], "gzip": [zarr.codecs.GzipCodec()]}
    return codecs.get(name, [zarr.codecs.Crc32cCodec()] if name == "crc32c" else None)


def test_a_store_of_ours_is_a_source_that_says_so(tiny_atlas: Atlas, tmp_path):
    (source,) = open_sources(tiny_atlas.path)
    assert source.livelatent["uuid"] == tiny_atlas.uuid and "uns/livelatent" not in source.left
    got = reading.whole(source.counts, 300, tmp_path / "s")
    assert (got.toarray() == tiny_atlas.read_rows(0, tiny_atlas.n_cells).toarray()).all()
    assert source.obs.column("source_row").tolist() == tiny_atlas.obs["source_row"].tolist()


def test_metadata_need_not_be_consolidated_and_is_not_believed_where_it_is(store, tmp_path):
    for file in (store / ".zmetadata", store / "zarr.json"):
        if file.exists():
            document = json.loads(file.read_bytes())
            document.pop("consolidated_metadata", None)
            file.unlink() if file.name == ".zmetadata" else file.write_text(json.dumps(document))
    reading.assert_equal(open_sources(store)[0], small(), tmp_path / "s")


def test_a_changed_file_changes_the_fingerprint(store):
    (source,) = open_sources(store)
    assert fingerprint_of(store) == source.fingerprint
    chunk = next(path for path in (store / "X" / "data").rglob("*") if path.name in ("0",) and path.is_file())
    chunk.write_bytes(chunk.read_bytes() + b"x")
    assert fingerprint_of(store) != source.fingerprint


def edited(store: Path, array: str, change: object) -> None:
    """Change an array's metadata, and the copy at the root, as a forger would."""
    file = next(path for path in (store / array / "zarr.json", store / array / ".zarray") if path.exists())
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document))


def add_codec(name: str) -> object:
    def change(document: dict) -> None:
        if "codecs" in document:
            document["codecs"].append({"name": f"numcodecs.{name}", "configuration": {"id": name}})
        else:
            document["filters"] = [*(document["filters"] or []), {"id": name}]

    return change


@pytest.mark.parametrize("codec", ["pickle", "json2", "msgpack2", "bz2", "lzma", "my-plugin"])
def test_a_codec_off_the_list_is_refused_before_it_is_made(store, monkeypatch, codec):
    edited(store, "X/data", add_codec(codec))
    monkeypatch.setattr(zarr, "open_group", lambda *a, **k: pytest.fail("Zarr saw it"))
    with pytest.raises(SourceError, match=rf"X/data/.*asks for the codec '(numcodecs\.)?{codec}'") as caught:
        open_sources(store)
    assert str(store) in str(caught.value)


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_codec_in_consolidated_metadata_counts_as_well(tmp_path, stores, zarr_format):
    store = shutil.copytree(stores[zarr_format], tmp_path / "a.zarr")
    zarr.consolidate_metadata(store, zarr_format=zarr_format)
    file = store / (".zmetadata" if zarr_format == 2 else "zarr.json")
    document = json.loads(file.read_bytes())
    if zarr_format == 2:
        add_codec("pickle")(document["metadata"]["X/data/.zarray"])
    else:
        add_codec("pickle")(document["consolidated_metadata"]["metadata"]["X/data"])
    file.write_text(json.dumps(document))
    with pytest.raises(SourceError, match="pickle"):
        open_sources(store)


def test_a_codec_inside_a_shard_counts_as_well(tmp_path):
    written(small(), tmp_path / "a.zarr", 3, is_sharded=True)
    edited(
        tmp_path / "a.zarr",
        "X/data",
        lambda d: d["codecs"][0]["configuration"]["codecs"].append({"name": "numcodecs.pickle", "configuration": {}}),
    )
    with pytest.raises(SourceError, match="pickle"):
        open_sources(tmp_path / "a.zarr")


@pytest.mark.parametrize("what", ["file", "folder", "chunk", "fifo"])
def test_links_are_not_followed(store, tmp_path, what):
    outside = tmp_path / "secret"
    if what == "folder":
        outside.mkdir()
        (store / "layers" / "stolen").symlink_to(outside)
    elif what == "fifo":
        os.mkfifo(store / "X" / "data" / "7")
    else:
        outside.write_bytes(b"secret")
        (store / "X" / "data" / ("9" if what == "chunk" else "note.txt")).symlink_to(outside)
    with pytest.raises(SourceError, match=r"`(X/data|layers)/\w+(\.txt)?` is (a link|no plain file)"):
        open_sources(store)


def test_the_store_itself_may_be_reached_by_a_link(store, tmp_path):
    (tmp_path / "link.zarr").symlink_to(store)
    (source,) = open_sources(tmp_path / "link.zarr")
    reading.assert_equal(source, small(), tmp_path / "s")
    assert source.name == "link.zarr"


@pytest.mark.parametrize(
    ("array", "change", "words"),
    [
        ("X/data", lambda d: d.update(shape=[10**15]), r"\d+ chunks, but there are|for 17 x 9 it has"),
        ("X/data", lambda d: d.update(shape=[-5]), "shape"),
        ("X/data", lambda d: d.update(shape="many"), "shape|no metadata of Zarr"),
        ("X/data", lambda d: d.update(shape=[3]), "for 17 x 9 it has"),
        ("X/indptr", lambda d: d.update(shape=[10]), "for 17 x 9 it has 10 pointers"),
    ],
)
def test_shapes_that_lie_are_refused(store, tmp_path, array, change, words):
    edited(store, array, change)
    with pytest.raises(SourceError, match=words) as caught:
        (source,) = open_sources(store)
        reading.whole(source.counts, 9, tmp_path / "s")
        source.obs.column("age")
    assert "a.zarr" in str(caught.value)


def test_a_column_whose_shape_lies_is_left(store):
    edited(store, "obs/age", lambda d: d.update(shape=[2**40]))
    with pytest.raises(SourceError, match="chunks, but there are"):
        open_sources(store)
    edited(store, "obs/age", lambda d: d.update(shape=[16]))
    (source,) = open_sources(store)
    assert source.left[0] == "obs/age (16 values for 17 rows)" and "age" not in source.obs.columns


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"zarr_format": 3, "node_type": "array"}'])
def test_metadata_that_is_none_is_refused(store, text):
    file = next(path for path in (store / "X/data/zarr.json", store / "X/data/.zarray") if path.exists())
    file.write_text(text)
    with pytest.raises(SourceError, match=r"`X/data/"):
        open_sources(store)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_that_may_not_be_read_says_so(store):
    (store / "X").chmod(0)
    try:
        with pytest.raises(NoPermissionError):
            open_sources(store)
    finally:
        (store / "X").chmod(0o755)
