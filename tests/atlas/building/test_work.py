"""What a killed call has left is gone on with only where it is what it was; the store that stands is never lost."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from livelatent.atlas import Atlas, append, ingest
from livelatent.atlas.building.work import Work, folder_of
from livelatent.atlas.layout import Layout
from livelatent.errors import LivelatentError, StoreError, StoreExistsError


def slow(case: object) -> object:
    """One of a family that goes the same way."""
    return pytest.param(case, marks=pytest.mark.slow)


TINY = Layout(chunk_cells=16, shard_elements=600)


def make_source(path: Path, n_cells: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    adata = anndata.AnnData(sparse.csr_matrix(rng.poisson(0.3, (n_cells, 30)).astype(np.float32)))
    adata.layers["half"] = adata.X * 0.5
    adata.write_h5ad(path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [make_source(tmp_path / "one.h5ad", 150, 1), make_source(tmp_path / "two.h5ad", 100, 2)]


def check(store: Path, files: list[Path]) -> None:
    """Every cell has the counts, layer and total of its own source and row."""
    atlas, whole = Atlas.open(store), anndata.read_zarr(store)
    for path in files:
        source, mine = anndata.read_h5ad(path), np.flatnonzero(atlas.obs["source"].astype(str) == path.name)
        row = atlas.obs["source_row"].to_numpy()[mine]
        assert sorted(row) == list(range(source.n_obs))
        assert (whole.X[mine].astype(float) != source.X[row].astype(float)).nnz == 0
        assert (whole.layers["half"][mine] != source.layers["half"][row]).nnz == 0
        assert (atlas.total[mine] == np.asarray(source.X.sum(axis=1)).ravel()[row]).all()


def interrupted(call: Callable[..., Atlas], when: str) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if what.startswith(when) and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(progress=interrupt)


@pytest.mark.parametrize("lost", ["matrix/values", "total", *map(slow, ["matrix/indices", "matrix/lengths", "n_seen"])])
def test_scratch_that_lost_bytes_is_never_read_as_zeros(files, tmp_path: Path, lost: str) -> None:
    target = tmp_path / "a.zarr"
    interrupted(lambda **k: ingest(files, target, layout=TINY, **k), "writing")
    path = folder_of(target) / "scratch" / lost
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreError, match="begins anew"):
        ingest(files, target, layout=TINY)
    assert not target.exists() and not folder_of(target).exists()
    ingest(files, target, layout=TINY)
    check(target, files)


@pytest.mark.parametrize(
    "lost", ["X/data/c/1", "layers/half", *map(slow, ["X", "X/indptr", "layers/half/indices/c/0"])]
)
def test_work_that_lost_a_file_replaces_no_store(files, tmp_path: Path, lost: str) -> None:
    target = tmp_path / "a.zarr"
    ingest(files[1], target)
    interrupted(lambda **k: ingest(files, target, layout=TINY, overwrite=True, **k), "tables")
    path = folder_of(target) / "store" / lost
    shutil.rmtree(path) if path.is_dir() else path.write_bytes(b"")
    with pytest.raises(StoreError):
        ingest(files, target, layout=TINY, overwrite=True)
    check(target, files[1:])
    assert not folder_of(target).exists()


@pytest.mark.parametrize("plan", ["{", '{"asked": {}}', *map(slow, ["[]", '{"asked": "x", "uuid": "y"}'])])
def test_a_damaged_plan_is_no_plan(files, tmp_path: Path, plan: str) -> None:
    target = tmp_path / "a.zarr"
    interrupted(lambda **k: ingest(files, target, layout=TINY, **k), "writing")
    (folder_of(target) / "plan.json").write_text(plan)
    ingest(files, target, layout=TINY)
    check(target, files)


def unsettled(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Atlas]) -> None:
    """A call that dies between taking its place and tidying up."""

    def die(work: Work) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Work, "settle", die)
        call()


@pytest.mark.parametrize("how", ["moved away", "another device number"])
def test_the_store_that_was_replaced_is_not_gone_on_with(files, tmp_path: Path, monkeypatch, how: str) -> None:
    target = tmp_path / "a.zarr"
    ingest(files[1], target, layout=TINY)
    unsettled(monkeypatch, lambda: ingest(files, target, layout=TINY, overwrite=True))
    if how == "moved away":
        os.rename(target, tmp_path / "b.zarr")
    else:  # as after a restart of the machine
        path = folder_of(target) / "state.json"
        state = json.loads(path.read_text())
        path.write_text(json.dumps({**state, "placing": [state["placing"][0] + 1, state["placing"][1]]}))
    ingest(files, target, layout=TINY, overwrite=True)
    check(target, files)


def test_an_append_that_died_in_its_place_is_settled_by_the_same_call(files, tmp_path: Path, monkeypatch) -> None:
    target = ingest(files[0], tmp_path / "a.zarr", layout=TINY).path
    unsettled(monkeypatch, lambda: append(target, files[1]))
    check(target, files)
    append(target, files[1])
    check(target, files)
    assert {path.name for path in tmp_path.iterdir() if "a." in path.name} == {
        "a.zarr",
        "a.manifest.json",
        ".a.zarr.lock",
    }


def test_matrices_are_on_disk_before_they_are_said_to_be(files, tmp_path: Path, monkeypatch) -> None:
    synced, fsync, save, said = set(), os.fsync, Work.save, []

    def noted(handle: int) -> None:
        fsync(handle)
        status = os.fstat(handle)
        synced.add((status.st_ino, status.st_mtime_ns))

    def compared(work: Work, **facts: object) -> None:
        if "finished" in facts:
            said.append(facts["finished"])
            for path in (work.store / "X", *(work.store / "X").rglob("*")):
                assert (path.stat().st_ino, path.stat().st_mtime_ns) in synced, path
        save(work, **facts)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Work, "save", compared)
    ingest(files[0], tmp_path / "a.zarr", layout=TINY)
    large = anndata.read_h5ad(files[1])
    large.X = large.X * 70_000
    large.write_h5ad(files[1])
    append(tmp_path / "a.zarr", files[1])
    assert said == [["X"], ["X", "layers/half"]] * 2


def test_a_layer_may_be_called_like_the_counts(files, tmp_path: Path) -> None:
    adata = anndata.read_h5ad(files[0])
    adata.layers["X"] = adata.X * 3
    adata.write_h5ad(files[0])
    atlas = ingest(files[0], tmp_path / "a.zarr", layout=TINY)
    whole = anndata.read_zarr(atlas.path)
    assert (whole.layers["X"].astype(float) != whole.X.astype(float) * 3).nnz == 0


def test_a_write_that_dies_after_one_that_did_leaves_the_store_readable(files, tmp_path: Path, monkeypatch) -> None:
    from livelatent.atlas import manifest

    target = ingest(files[0], tmp_path / "a.zarr", layout=TINY).path
    unsettled(monkeypatch, lambda: append(target, files[1]))

    def die(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    atlas = Atlas.open(target)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(manifest, "describe", die)
        atlas.write_obsm("X_new", np.zeros((250, 2), np.float32))
    check(target, files)


def test_a_source_inside_the_store_that_is_replaced_is_not_lost(files, tmp_path: Path) -> None:
    target = ingest(files[0], tmp_path / "a.zarr", layout=TINY).path
    os.rename(files[1], target / "two.h5ad")
    for source in (target, target / "two.h5ad"):
        with pytest.raises(StoreExistsError, match="would be gone"):
            ingest(source, target, overwrite=True)
    assert (target / "two.h5ad").exists()


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
@pytest.mark.parametrize("where", ["X", "half"])
def test_whole_numbers_that_float64_rounds_are_refused_in_any_type(tmp_path: Path, kind: type, where: str) -> None:
    values = sparse.csr_matrix(np.array([[2**53 + 1, 1], [2, 0]], kind))
    adata = anndata.AnnData(values if where == "X" else sparse.csr_matrix(np.eye(2)), layers={"half": values})
    adata.write_h5ad(tmp_path / "large.h5ad")
    with pytest.raises(LivelatentError, match=r"above 2\*\*53"):
        ingest(tmp_path / "large.h5ad", tmp_path / "a.zarr")
