"""Labels in a copy of the user's own file: in its row order, everything else as it was, the original untouched."""

import csv
import hashlib
import os
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr

from livelatent.atlas import Atlas, ingest
from livelatent.atlas.elements import quiet_anndata
from livelatent.errors import ColumnError, DiskSpaceError, SourceError, StoreExistsError


@pytest.fixture
def sources(tmp_path: Path, tiny_h5ad: list[Path]) -> list[Path]:
    """Copies of the tiny files (their times kept) that the test may change."""
    (tmp_path / "mine").mkdir()
    return [Path(shutil.copy2(path, tmp_path / "mine")) for path in tiny_h5ad]


@pytest.fixture
def labelled(own_atlas: Atlas) -> Atlas:
    """Some cells of either file are named by hand; one label is taken away again."""
    own_atlas.labels.label(np.arange(0, 607, 7), "new [b]type[/b]")
    own_atlas.labels.label([0, 7], None)
    return own_atlas


def oracle(atlas: Atlas, file: Path) -> list[str | None]:
    """The label of each cell of a file, cell by cell through its identity."""
    adata = anndata.read_h5ad(file)
    by_hand = dict(
        zip(zip(atlas.obs["source"], atlas.obs["source_row"], strict=True), atlas.labels.current(), strict=True)
    )
    result = []
    for row, own in enumerate(adata.obs["cell_type"]):
        name = by_hand[(file.name, row)]
        own = None if pd.isna(own) or own == "unassigned" else own
        result.append(own if name is None else name)
    return result


def exported(path: Path, column: str = "livelatent_label") -> list[str | None]:
    values = anndata.read_h5ad(path).obs[column]
    return [None if pd.isna(value) else value for value in values]


def content(group: h5py.Group) -> dict[str, tuple]:
    """Every dataset's raw stored bytes, its creation options and every attribute."""
    found: dict[str, tuple] = {}

    def visit(name: str, item: object) -> None:
        attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            chunks = item.id.get_num_chunks() if item.chunks else 0
            raw = [item.id.read_direct_chunk(item.id.get_chunk_info(k).chunk_offset) for k in range(chunks)]
            value = raw or np.asarray(item[()]).tolist()
            found[name] = (str(item.dtype), item.shape, item.compression, value, attributes)
        else:
            found[name] = (attributes,)

    group.visititems(visit)
    return found


def test_every_cell_gets_its_label_in_the_files_own_order(labelled: Atlas, sources: list[Path]) -> None:
    for file in sources:
        done = labelled.labels.export(file)
        # Beside the store: a source may lie in a folder that many read.
        assert done.path == labelled.path.with_name(f"{file.stem}.labelled.h5ad")
        assert done.matched_by == "row" and not done.note
        assert exported(done.path) == oracle(labelled, file)
        assert done.n_cells == len(exported(done.path)) == {"one": 370, "two": 237}[file.stem]
        assert done.n_labelled == sum(name is not None for name in exported(done.path))
        assert exported(done.path).count("new [b]type[/b]") > 20


def test_the_original_is_not_touched_and_the_rest_of_the_copy_is_as_it_was(
    labelled: Atlas, sources: list[Path]
) -> None:
    file = sources[0]
    with h5py.File(file, "r+") as extra:
        extra.create_dataset("uns/mine", data=np.arange(10.0), compression="gzip", shuffle=True)
        extra["uns"].attrs["note"] = "kept"
    before, status = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat()
    done = labelled.labels.export(file)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before and file.stat().st_mtime_ns == status.st_mtime_ns
    with h5py.File(file) as old, h5py.File(done.path) as new:
        was, now = content(old), content(new)
    added = {name for name in now if name.startswith("obs/livelatent_label")}
    assert now.keys() - was.keys() == added and added
    order = now["obs"][0].pop("column-order")
    assert order == [*was["obs"][0].pop("column-order"), "livelatent_label"]
    assert {name: now[name] for name in was} == was


def test_a_file_that_has_changed_is_matched_by_name_and_says_so(labelled: Atlas, sources: list[Path]) -> None:
    file = sources[1]
    with quiet_anndata():
        adata = anndata.read_h5ad(file)
        order = np.random.default_rng(0).permutation(adata.n_obs)[:200]
        expected = np.array(oracle(labelled, file), dtype=object)[order].tolist()
        adata[order].copy().write_h5ad(file)
    done = labelled.labels.export(file)
    assert done.matched_by == "name" and "two.h5ad has changed" in done.note and "200 of 200" in done.note
    assert exported(done.path) == expected


def test_a_changed_file_whose_names_are_not_unique_is_refused(labelled: Atlas, sources: list[Path]) -> None:
    file = sources[1]
    with h5py.File(file, "r+") as changed:
        names = changed["obs/_index"][()]
        names[3] = names[4]
        changed["obs/_index"][...] = names
    with pytest.raises(SourceError, match="names are not unique"):
        labelled.labels.export(file)
    assert not labelled.path.with_name("two.labelled.h5ad").exists()


def test_a_file_of_other_cells_is_refused(labelled: Atlas, sources: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.h5ad"
    shutil.copy(sources[0], other)
    with pytest.raises(SourceError, match=r"none of the atlas's sources \(one.h5ad, two.h5ad\)"):
        labelled.labels.export(other)
    with h5py.File(sources[0], "r+") as changed:
        changed["obs/_index"][...] = [f"other{k}" for k in range(370)]
    with pytest.raises(SourceError, match="none of its cells' names is in the atlas"):
        labelled.labels.export(sources[0])


def test_an_export_of_the_store_itself_is_matched_by_identity(labelled: Atlas, tmp_path: Path) -> None:
    rows = np.array([400, 3, 77, 0, 7])
    adata = labelled.to_anndata()[rows].copy()
    with quiet_anndata():
        adata.write_h5ad(tmp_path / "subset.h5ad")
    done = labelled.labels.export(tmp_path / "subset.h5ad", tmp_path / "out.h5ad")
    assert done.matched_by == "identity"
    assert exported(done.path) == labelled.labels.shown()[rows].tolist()


def test_a_column_of_the_users_own_is_never_written_over(labelled: Atlas, sources: list[Path], tmp_path: Path) -> None:
    for column in ("cell_type", "age"):
        with pytest.raises(ColumnError, match="came with the file"):
            labelled.labels.export(sources[0], column=column)
    for column in ("", "a/b", "_index"):
        with pytest.raises(ColumnError, match="no slash"):
            labelled.labels.export(sources[0], column=column)
    assert sorted(path.name for path in sources[0].parent.iterdir()) == ["one.h5ad", "two.h5ad"]
    first = labelled.labels.export(sources[0], tmp_path / "first.h5ad").path
    labelled.labels.label([7], "later")
    shutil.copy2(first, tmp_path / "mine" / "one.h5ad")  # the user goes on with the labelled copy
    again = labelled.labels.export(sources[0], tmp_path / "second.h5ad")
    assert again.matched_by == "name" and exported(again.path) == oracle(labelled, sources[0])
    assert list(anndata.read_h5ad(again.path).obs.columns).count("livelatent_label") == 1


def test_what_stands_there_is_replaced_only_when_told(labelled: Atlas, sources: list[Path]) -> None:
    path = labelled.labels.export(sources[0]).path
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        labelled.labels.export(sources[0])
    labelled.labels.label([7], "later")
    assert labelled.labels.export(sources[0], overwrite=True).path == path
    assert exported(path) == oracle(labelled, sources[0])
    for same in (sources[0], sources[0].parent / ".." / "mine" / "one.h5ad"):
        with pytest.raises(StoreExistsError, match="the file itself"):
            labelled.labels.export(sources[0], same, overwrite=True)


def test_a_copy_is_whole_or_absent(labelled: Atlas, sources: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from livelatent.atlas import export_labels

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(export_labels, "add_column", full)
    with pytest.raises(DiskSpaceError):
        labelled.labels.export(sources[0])
    assert sorted(path.name for path in sources[0].parent.iterdir()) == ["one.h5ad", "two.h5ad"]


@pytest.mark.parametrize("damage", ["cut", "no anndata", "absent"])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    labelled: Atlas, sources: list[Path], damage: str
) -> None:
    file = sources[0]
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:2000])
    elif damage == "absent":
        file.unlink()
    else:
        with h5py.File(file, "w") as plain:
            plain["x"] = 1
    with pytest.raises(SourceError, match=r"one\.h5ad"):
        labelled.labels.export(file)


def test_a_table_for_spreadsheets_runs_no_formula(labelled: Atlas, sources: list[Path], tmp_path: Path) -> None:
    labelled.labels.label(np.arange(20), "=cmd|' /C calc'!A0")
    done = labelled.labels.export(sources[0], tmp_path / "labels.csv")
    with open(done.path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["cell", "livelatent_label"]
    names = [None if not name else name for _, name in rows[1:]]
    expected = [f"'{name}" if name and name.startswith("=") else name for name in oracle(labelled, sources[0])]
    assert names == expected and any(name and name.startswith("'=") for name in names)
    assert [cell for cell, _ in rows[1:]] == anndata.read_h5ad(sources[0]).obs_names.tolist()


@pytest.mark.parametrize(("zarr_format", "is_consolidated"), [(2, True), (3, True), (3, False)])
def test_a_zarr_source_is_copied_too(
    tmp_path: Path, tiny_adatas: dict, zarr_format: int, is_consolidated: bool
) -> None:
    import warnings

    file = tmp_path / "one.zarr"
    with quiet_anndata(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        anndata.io.write_elem(zarr.open_group(file, mode="w", zarr_format=zarr_format), "/", tiny_adatas["one.h5ad"])
        if is_consolidated:
            zarr.consolidate_metadata(file, zarr_format=zarr_format)
    atlas = ingest(file, tmp_path / "store.zarr", label="cell_type")
    atlas.labels.label([5, 6], "new")
    before = {path: path.read_bytes() for path in file.rglob("*") if path.is_file()}
    done = atlas.labels.export(file)
    assert done.path == tmp_path / "one.labelled.zarr" and done.matched_by == "row"
    with quiet_anndata():
        found, source = anndata.read_zarr(done.path), anndata.read_zarr(file)
    values = [None if pd.isna(value) else value for value in found.obs["livelatent_label"]]
    expected = np.full(370, None, dtype=object)
    expected[atlas.obs["source_row"]] = atlas.labels.shown()
    assert values == expected.tolist() and values.count("new") == 2
    assert (found.X != source.X).nnz == 0 and list(found.obs.columns) == [*source.obs.columns, "livelatent_label"]
    assert {path: path.read_bytes() for path in file.rglob("*") if path.is_file()} == before
