"""Labels, batches, totals and splits, each from a column of its own: what the whole table says, at any time."""

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from damage import flip
from livelatent.atlas import Atlas, append, ingest, qc
from livelatent.atlas.layout import Layout
from livelatent.errors import ColumnError, StoreError
from serving import http_server

N = 90
TINY_LAYOUT = Layout(chunk_cells=16, shard_elements=300)


def some(values: list[object]) -> list[object]:
    return [values[i * i % len(values)] for i in range(N)]


KINDS = {
    "categories": pd.Categorical(some(["b", "a", None, "", "c"]), categories=["c", "", "b", "unused", "a"]),
    "categories of numbers": pd.Categorical(some([10, 2, None, 3])),
    "categories of truth values": pd.Categorical(some([True, False, None])),
    "text": some(["b", "", "a", "é <b>"]),
    "nullable text": pd.array(some(["b", "", None, "a"]), dtype="string"),
    "whole numbers": some([10, 9, -3]),
    "numbers": some([0.25, np.nan, 3.0]),
    "truth values": some([True, False]),
    "nullable whole numbers": pd.array(some([2**40, None, 7]), dtype="Int64"),
    "nullable truth values": pd.array(some([True, None, False]), dtype="boolean"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = np.random.default_rng(0).poisson(1, (N, 12)).astype(np.float32)
    counts[7], counts[:, 5] = 0, 0
    obs = pd.DataFrame(KINDS, index=pd.Index([f"c{i}" for i in range(N)], dtype=object))
    path = tmp_path_factory.mktemp("cells") / "kinds.h5ad"
    adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs)
    adata.obsm["X_seen"] = np.random.default_rng(1).normal(size=(N, 3))
    with pd.option_context("future.infer_string", False), anndata.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Its store, which no test changes."""
    return ingest(source, tmp_path_factory.mktemp("store") / "a.zarr", layout=TINY_LAYOUT)


def oracle(table: pd.DataFrame, column: str) -> list[str | None]:
    """The text of each cell, one after the other, as it was read before columns were."""
    series = table[column]
    if isinstance(series.dtype, pd.CategoricalDtype):
        kinds = [*series.cat.categories, ""]
        return [str(kinds[code]) or None for code in series.cat.codes]
    return [None if gone else str(value) or None for value, gone in zip(series, series.isna(), strict=True)]


@pytest.mark.parametrize("column", KINDS)
def test_what_each_column_says_is_what_the_whole_table_says(store: Atlas, column: str) -> None:
    facts = {**store.facts, "label": column, "batch": column, "unlabelled": ["a", "10"]}
    table = anndata.read_zarr(store.path).obs
    written = oracle(table, column)
    known = sorted({name for name in written if name is not None} - {"a", "10"})
    batches = sorted({name or "(missing)" for name in written})
    for is_read_before in (False, True):
        atlas = Atlas(store.path, facts, N, store.genes)
        if is_read_before:
            assert len(atlas.obs) == N
        assert atlas.label_names == tuple(known) and atlas.batch_names == tuple(batches)
        assert atlas.label.tolist() == [known.index(name) if name in known else -1 for name in written]
        assert atlas.batch.tolist() == [batches.index(name or "(missing)") for name in written]
        assert atlas.label.dtype == atlas.batch.dtype == np.int32
        assert atlas.true_labels.tolist() == written and atlas.true_labels.dtype == object
        assert atlas.total.dtype == np.float64 and (atlas.total == table["livelatent_total"]).all()
        assert atlas.split.tolist() == table["livelatent_split"].tolist()
        assert atlas.kept.all() and atlas.rows("validation").tolist() == list(range(81, 90))
        assert ("obs" in vars(atlas)) == is_read_before


def test_columns_come_one_by_one(store: Atlas) -> None:
    atlas = Atlas.open(store.path)
    table = anndata.read_zarr(atlas.path).obs
    for name in KINDS:
        found = atlas.obs_column(name)
        if found.names is None:
            wanted = [np.nan if value is pd.NA else value for value in table[name].astype(object)]
            assert np.array_equal(found.values.astype(float), np.array(wanted, float), equal_nan=True)
        else:
            assert [(*found.names, None)[code] for code in found.values] == oracle(table, name)
    numbers = {name for name in KINDS if atlas.obs_column(name).names is None}
    assert numbers == {name for name in KINDS if "categories" not in name and "text" not in name}
    assert "obs" not in vars(atlas)
    with pytest.raises(ColumnError, match=r"Did you mean 'whole numbers'.*It has: categories"):
        atlas.obs_column("whole_numbers")


def test_a_mask_written_by_qc_is_seen_at_once(own_atlas: Atlas) -> None:
    assert own_atlas.kept.all()
    found = qc.qc(own_atlas, min_cells=2)
    found.apply()
    assert not found.kept.all() and (own_atlas.kept == found.kept).all()
    assert (Atlas.open(own_atlas.path).kept == found.kept).all() and "obs" not in vars(own_atlas)
    assert own_atlas.obs["livelatent_kept"].tolist() == found.kept.tolist()


# Guards


@pytest.mark.parametrize(
    ("element", "ask"),
    [
        ("obs/cell_type/codes", "label"),
        ("obs/donor/codes", "batch"),
        ("obs/livelatent_total", "total"),
        ("obs/livelatent_split/codes", "split"),
    ],
)
def test_a_flipped_bit_in_a_column_is_an_error_that_names_it(own_atlas: Atlas, element: str, ask: str) -> None:
    shard = own_atlas.path / element / "c" / "0"
    for place in (0.1, 0.5, 0.9):
        whole = shard.read_bytes()
        flip(shard, int(place * len(whole)), 3)
        with pytest.raises(StoreError, match=f"{element.rsplit('/codes', 1)[0]} is damaged"):
            getattr(Atlas.open(own_atlas.path), ask)
        shard.write_bytes(whole)
    assert len(getattr(Atlas.open(own_atlas.path), ask)) == 607


def test_a_column_of_another_length_is_an_error(own_atlas: Atlas, tmp_path: Path) -> None:
    import zarr

    from livelatent.atlas import manifest
    from livelatent.atlas.elements import consolidate, write_element

    write_element(zarr.open_group(own_atlas.path / "obs", mode="r+"), "livelatent_total", np.ones(606))
    consolidate(own_atlas.path)
    manifest.manifest_path(own_atlas.path).unlink()
    with pytest.raises(StoreError, match=r"obs/livelatent_total is not of 607 cells"):
        _ = Atlas.open(own_atlas.path).total


def test_columns_of_a_store_that_has_grown_are_those_that_were_opened(source: Path, tmp_path: Path) -> None:
    atlas = ingest(source, tmp_path / "a.zarr", label="categories", batch="whole numbers", layout=TINY_LAYOUT)
    wanted = Atlas.open(atlas.path)
    label, batch, total, split, kept = wanted.label, wanted.batch, wanted.total, wanted.split, wanted.kept
    vectors = wanted.obsm_rows("X_seen").read(0, N)
    held = atlas.obsm_rows("X_seen")
    other = anndata.read_h5ad(source)
    other.obs["categories"] = pd.Categorical(["0 first"] * N)  # a name that sorts before all others
    other.obs_names = [f"d{i}" for i in range(N)]
    del other.obsm["X_seen"]
    with pd.option_context("future.infer_string", False), anndata.settings.override(allow_write_nullable_strings=True):
        other.write_h5ad(tmp_path / "other.h5ad")
    grown = append(atlas.path, tmp_path / "other.h5ad")
    assert "0 first" in grown.label_names and grown.n_cells == 2 * N
    assert (atlas.label == label).all() and atlas.label_names == wanted.label_names and (atlas.batch == batch).all()
    assert (atlas.total == total).all() and (atlas.split == split).all() and (atlas.kept == kept).all()
    for rows in (held, atlas.obsm_rows("X_seen")):
        assert (rows.read(0, 10**6) == vectors).all()


def test_nothing_is_read_of_a_store_that_took_its_place(source: Path, tmp_path: Path) -> None:
    atlas = ingest(source, tmp_path / "a.zarr", label="categories", layout=TINY_LAYOUT)
    held = atlas.obsm_rows("X_seen")
    ingest(source, tmp_path / "a.zarr", label="categories", layout=TINY_LAYOUT, overwrite=True, seed=1)
    for ask in ("label", "total", "split", "kept"):
        with pytest.raises(StoreError, match="replaced by another"):
            getattr(atlas, ask)
    with pytest.raises(StoreError, match="replaced by another"):
        held.read(0, 5)
    with pytest.raises(StoreError, match="replaced by another"):
        atlas.obsm_rows("X_seen")


def test_columns_and_vectors_of_a_remote_store_are_those_of_the_local_one(source: Path, tmp_path: Path) -> None:
    here = ingest(source, tmp_path / "a.zarr", label="categories", batch="text", layout=TINY_LAYOUT)
    with http_server(tmp_path) as served:
        there = Atlas.open(f"{served.url}/a.zarr")
        for ask in ("label", "batch", "total", "split", "kept"):
            assert (getattr(there, ask) == getattr(here, ask)).all()
        assert (there.label_names, there.batch_names) == (here.label_names, here.batch_names)
        assert there.obs_column("whole numbers").values.tolist() == here.obs_column("whole numbers").values.tolist()
        assert (there.obsm_rows("X_seen").read(3, 50) == here.obsm_rows("X_seen").read(3, 50)).all()
        with pytest.raises(ColumnError, match=r"Did you mean 'X_seen'"):
            there.obsm_rows("x_seem")
        served.requests.clear()
        there.obs_column("categories")
        assert len(served.requests) < 6
    shutil.rmtree(here.path)
