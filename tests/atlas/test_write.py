"""Elements added to a store that stands."""

import json
import os
import shutil
from pathlib import Path

import anndata
import numpy as np
import pytest
import zarr

from livelatent.atlas import Atlas, write
from livelatent.atlas.write import Element, replace_elements
from livelatent.errors import ColumnError, DiskSpaceError, StoreError


def leftovers(atlas: Atlas) -> list[str]:
    return [path.name for path in atlas.path.parent.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("pipeline", ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"])
@pytest.mark.parametrize("sizes", [[607], [1] * 607, [250, 0, 300, 57]])
def test_rows_appended_in_any_portions_are_the_array(
    own_atlas: Atlas, sizes: list[int], pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Chunks of 40 rows, shards of 120.
    monkeypatch.setattr(write, "ARRAY_CHUNK_BYTES", 40 * 5 * 4)
    monkeypatch.setattr(write, "ARRAY_SHARD_BYTES", 3 * 40 * 5 * 4)
    values = np.random.default_rng(0).standard_normal((607, 5)).astype(np.float32)
    values[120:240] = 0
    with zarr.config.set({"codec_pipeline.path": pipeline}), own_atlas.obsm_writer("X_new", 5) as writer:
        for part in np.split(values, np.cumsum(sizes)[:-1]):
            writer.append(part)
    np.testing.assert_array_equal(anndata.read_zarr(own_atlas.path).obsm["X_new"], values)
    # Also where all values are 0: a missing file would pass for zeros.
    assert len([file for file in (own_atlas.path / "obsm/X_new/c").rglob("*") if file.is_file()]) == 6
    np.testing.assert_array_equal(Atlas.open(own_atlas.path).to_anndata().obsm["X_new"], values)
    assert leftovers(own_atlas) == []


def test_a_damaged_row_of_a_streamed_array_is_found(own_atlas: Atlas) -> None:
    with own_atlas.obsm_writer("X_new", 3) as writer:
        writer.append(np.random.default_rng(0).standard_normal((607, 3)).astype(np.float32))
    shard = own_atlas.path / "obsm/X_new/c/0/0"
    data = bytearray(shard.read_bytes())
    data[200] ^= 4
    shard.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="damaged or unreadable"):
        own_atlas.to_anndata()


@pytest.mark.parametrize("n_rows", [606, 608])
def test_too_few_or_too_many_rows_leave_the_old_array(own_atlas: Atlas, n_rows: int) -> None:
    own_atlas.write_obsm("X_new", np.ones((607, 2)))
    with pytest.raises(ValueError, match="607 rows were to be written"), own_atlas.obsm_writer("X_new", 4) as writer:
        writer.append(np.zeros((n_rows, 4), np.float32))
    assert anndata.read_zarr(own_atlas.path).obsm["X_new"].tolist() == [[1, 1]] * 607
    assert leftovers(own_atlas) == []


def test_an_error_while_rows_are_made_leaves_the_store_as_it_was(own_atlas: Atlas) -> None:
    before = {path: path.read_bytes() for path in own_atlas.path.rglob("*") if path.is_file()}
    with pytest.raises(InterruptedError), own_atlas.obsm_writer("X_new", 4) as writer:
        writer.append(np.zeros((300, 4), np.float32))
        raise InterruptedError
    assert {path: path.read_bytes() for path in own_atlas.path.rglob("*") if path.is_file()} == before
    assert leftovers(own_atlas) == []


def test_room_is_looked_for_before_anything_is_done(own_atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(own_atlas.path)._replace(free=607 * 4 * 10 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskSpaceError, match="obsm/X_new"), own_atlas.obsm_writer("X_new", 10):
        raise AssertionError("nothing may be done")
    with own_atlas.obsm_writer("X_new", 9) as writer:
        writer.append(np.zeros((607, 9), np.float32))


def test_others_may_write_while_rows_are_made(own_atlas: Atlas) -> None:
    with own_atlas.obsm_writer("X_new", 2) as writer:
        own_atlas.write_obsm("X_other", np.ones((607, 1)))
        writer.append(np.full((607, 2), 7, np.float32))
    assert sorted(anndata.read_zarr(own_atlas.path).obsm) == ["X_new", "X_other"]


@pytest.mark.parametrize("name", ["a/b", "", ".hidden"])
def test_a_name_that_obsm_cannot_bear_is_refused(own_atlas: Atlas, name: str) -> None:
    with pytest.raises(ColumnError, match="obsm name"):
        own_atlas.obsm_writer(name, 3)


def test_several_elements_become_visible_together(own_atlas: Atlas) -> None:
    old = [Element("obs", "one", np.arange(607)), Element("var", "two", np.arange(300.0))]
    replace_elements(own_atlas.path, own_atlas.uuid, old)
    new = [Element("obs", "one", np.ones(607)), Element("var", "two", np.zeros(300, bool), {"of": "me"})]
    states = []
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        read = anndata.read_zarr(own_atlas.path)
        states.append(("one" in read.obs, "two" in read.var))
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write.os, "rename", watched)
        replace_elements(own_atlas.path, own_atlas.uuid, new)
    # Two go, two come: from the first move on neither is seen, until both are.
    assert states == [(False, False)] * 4
    read = anndata.read_zarr(own_atlas.path)
    assert read.obs["one"].tolist() == [1.0] * 607 and not read.var["two"].any()
    assert zarr.open_group(own_atlas.path, mode="r")["var/two"].attrs["of"] == "me"
    assert list(read.obs.columns).count("one") == 1
    described = json.loads((own_atlas.path / "var" / "zarr.json").read_bytes())
    assert described["attributes"]["column-order"].count("two") == 1
    Atlas.open(own_atlas.path)
