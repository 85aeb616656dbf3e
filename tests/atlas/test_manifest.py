"""The manifest: what it tells, what is no manifest, and what may be carried over from an earlier one."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livelatent.atlas import Atlas, manifest
from livelatent.errors import StoreError


def rewritten(atlas: Atlas, change: Any, *, is_signed: bool = True) -> None:
    """Change the manifest as somebody else might, with a right hash of its own."""
    path = manifest.manifest_path(atlas.path)
    told = json.loads(path.read_bytes())
    change(told["files"])
    if is_signed:
        told["sha256"] = manifest.own_hash(told["files"])
    path.write_text(json.dumps(told))


def test_it_tells_name_size_and_checksum_of_every_file(own_atlas: Atlas) -> None:
    files = json.loads(manifest.manifest_path(own_atlas.path).read_bytes())["files"]
    on_disk = {
        path.relative_to(own_atlas.path).as_posix(): path for path in own_atlas.path.rglob("*") if path.is_file()
    }
    assert files.keys() == on_disk.keys()
    for name, path in on_disk.items():
        assert files[name]["size"] == path.stat().st_size
        assert ("sha256" in files[name]) == (name.endswith("zarr.json") or name.startswith("uns/"))
        if "crc32" in files[name]:
            assert int(files[name]["crc32"], 16) == zlib.crc32(path.read_bytes())


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../other.zarr/zarr.json", "X/../../secret", "a//b", "..", "X\\..\\..\\secret"]
)
def test_a_name_that_leads_out_of_the_store_is_no_manifest(own_atlas: Atlas, name: str) -> None:
    rewritten(own_atlas, lambda files: files.update({name: {"size": 0, "sha256": "ab"}}))
    with pytest.raises(StoreError, match=r"tiny\.manifest\.json is damaged"):
        Atlas.open(own_atlas.path)


@pytest.mark.parametrize("fact", [[], None, 5, {}, {"size": "5"}, {"size": 5, "sha256": 7}, {"size": 5, "crc32": []}])
def test_a_fact_of_another_kind_is_no_manifest(own_atlas: Atlas, fact: Any) -> None:
    rewritten(own_atlas, lambda files: files.update({"zarr.json": fact}))
    with pytest.raises(StoreError, match=r"tiny\.manifest\.json is damaged"):
        Atlas.open(own_atlas.path)


def test_a_later_livelatent_may_tell_more(own_atlas: Atlas) -> None:
    rewritten(own_atlas, lambda files: files["zarr.json"].update({"blake3": "ab"}))
    assert Atlas.open(own_atlas.path).n_cells == 607
    rewritten(own_atlas, lambda files: files["zarr.json"].pop("size"), is_signed=False)
    with pytest.raises(StoreError, match="damaged"):
        Atlas.open(own_atlas.path)


def test_metadata_of_a_size_that_none_have_are_not_read(own_atlas: Atlas) -> None:
    path = own_atlas.path / "obs" / "zarr.json"
    with open(path, "ab") as file:
        file.truncate(2**33)  # no bytes on the disk
    rewritten(own_atlas, lambda files: files["obs/zarr.json"].update(size=2**33))
    with pytest.raises(StoreError, match="which no file of its kind has"):
        Atlas.open(own_atlas.path)


def test_a_write_reads_no_file_again_that_it_has_not_touched(own_atlas: Atlas) -> None:
    """Each old file's checksum is carried over even from a file that was damaged since: so the damage is found."""
    shard = own_atlas.path / "X" / "data" / "c" / "2"
    status, data = shard.stat(), bytearray(shard.read_bytes())
    data[77] ^= 4
    shard.write_bytes(bytes(data))
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = json.loads(manifest.manifest_path(own_atlas.path).read_bytes())["files"]
    own_atlas.write_obsm("X_new", np.ones((607, 2), np.float32))
    after = json.loads(manifest.manifest_path(own_atlas.path).read_bytes())["files"]
    assert {name: after[name] for name in before if "crc32" in before[name]} == {
        name: fact for name, fact in before.items() if "crc32" in fact
    }
    assert manifest.crc32(shard) != after["X/data/c/2"]["crc32"]
    own_atlas.write_obsm("X_new", np.full((607, 2), 2, np.float32))
    again = json.loads(manifest.manifest_path(own_atlas.path).read_bytes())["files"]
    new = [name for name in after if name.startswith("obsm/X_new/c")]
    assert new and all(
        int(again[name]["crc32"], 16) == zlib.crc32((own_atlas.path / name).read_bytes()) for name in new
    )


def test_a_write_that_never_took_place_leaves_the_store_as_it_was(own_atlas: Atlas, tmp_path: Path) -> None:
    """A killed append has announced more files of the same store than there are."""
    grown = manifest.describe(own_atlas.path, own_atlas.uuid)
    grown["files"]["X/data/c/99"] = {"size": 5, "crc32": "00000000"}
    grown["sha256"] = manifest.own_hash(grown["files"])
    manifest.write_next(own_atlas.path, grown)
    assert Atlas.open(own_atlas.path).n_cells == 607
    (own_atlas.path / "X" / "data" / "c" / "3").unlink()
    with pytest.raises(StoreError, match="is missing"):
        Atlas.open(own_atlas.path)
