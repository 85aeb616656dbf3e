"""A store copied to a bucket and back: whole, gone on with after a break, never over another store."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from damage import flip
from livelatent.atlas import Atlas, manifest, transfer
from livelatent.atlas.doctor import examine
from livelatent.atlas.remote import Address
from livelatent.errors import NoPermissionError, StoreError, StoreExistsError
from serving import Served, http_server, s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[Served]:
    with s3_server() as served:
        served.client().create_bucket(Bucket="copies")
        yield served


@pytest.fixture
def address(s3: Served, request: pytest.FixtureRequest) -> str:
    """An address of its own for each test."""
    return f"s3://copies/{request.node.name.partition('[')[0]}/blood.zarr"


def objects(s3: Served, address: str) -> dict[str, str]:
    """Key and e_tag of all that lies at and beside an address, as another client lists it."""
    prefix = address.removeprefix("s3://copies/").rpartition("/")[0] + "/"
    found = s3.client().list_objects_v2(Bucket="copies", Prefix=prefix).get("Contents", [])
    return {item["Key"].removeprefix(prefix): item["ETag"] for item in found}


def files(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def puts(s3: Served) -> list[str]:
    return [request.partition("/blood")[2] for request in s3.requests if request.startswith("PUT")]


def test_a_store_goes_to_a_bucket_and_back_unchanged(
    s3: Served, address: str, tiny_atlas: Atlas, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    there = tiny_atlas.copy_to(
        address, storage_options=s3.options, progress=lambda done, total, what: seen.append((done, total))
    )
    assert there.uuid == tiny_atlas.uuid and (there.read_rows(0, 607) != tiny_atlas.read_rows(0, 607)).nnz == 0
    assert {name.partition("/")[0] for name in objects(s3, address)} == {"blood.zarr", "blood.manifest.json"}
    assert seen == sorted(seen) and seen[-1][0] > 0.5 * seen[-1][1]
    back = there.copy_to(tmp_path / "back.zarr")
    assert files(back.path) == files(tiny_atlas.path) and examine(back.path) == []


def test_zarr_json_and_the_manifest_come_last(s3: Served, address: str, tiny_atlas: Atlas) -> None:
    s3.requests.clear()
    tiny_atlas.copy_to(address, storage_options=s3.options)
    sent = puts(s3)
    assert sent[0] == ".manifest.json.next" and sent[-2:] == [".manifest.json", ".zarr/zarr.json"]
    metadata = [number for number, name in enumerate(sent) if name.endswith("/zarr.json")]
    assert metadata == [*range(len(sent) - len(metadata) - 1, len(sent) - 2), len(sent) - 1]


def test_a_copy_that_was_cut_off_cannot_be_opened_and_is_gone_on_with(
    s3: Served, address: str, tiny_atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_sent, put = [0], Address.put

    def breaks(self: Address, name: str, file: Path, *, whole: bool) -> None:
        n_sent[0] += 1
        if n_sent[0] > 40:
            raise StoreError("the line is cut")
        put(self, name, file, whole=whole)

    monkeypatch.setattr(transfer, "FILES_AT_ONCE", 1)
    with monkeypatch.context() as cut:
        cut.setattr(Address, "put", breaks)
        with pytest.raises(StoreError, match="the line is cut"):
            tiny_atlas.copy_to(address, storage_options=s3.options)
    with pytest.raises(StoreError, match="no Zarr v3 store"):
        Atlas.open(address, storage_options=s3.options)
    s3.requests.clear()
    tiny_atlas.copy_to(address, storage_options=s3.options)
    n_files = len(files(tiny_atlas.path))
    assert n_files > 80 and len(puts(s3)) == n_files - 40 + 2
    assert ".manifest.json.next" not in objects(s3, address)


def test_run_again_nothing_is_sent_and_after_a_write_what_has_changed(
    s3: Served, address: str, own_atlas: Atlas
) -> None:
    own_atlas.copy_to(address, storage_options=s3.options)
    s3.requests.clear()
    own_atlas.copy_to(address, storage_options=s3.options)
    assert [name for name in puts(s3) if ".zarr/" in name] == []
    own_atlas.labels.label([0], "new")
    own_atlas.write_labels()
    s3.requests.clear()
    own_atlas.copy_to(address, storage_options=s3.options)
    sent = [name for name in puts(s3) if ".zarr/" in name]
    assert 0 < len(sent) < 12 and all("/X/" not in name for name in sent)
    assert "livelatent_label" in Atlas.open(address, storage_options=s3.options).obs


def test_an_object_that_another_has_changed_is_sent_again(s3: Served, address: str, tiny_atlas: Atlas) -> None:
    tiny_atlas.copy_to(address, storage_options=s3.options)
    key = address.removeprefix("s3://copies/") + "/X/data/c/4"
    size = (tiny_atlas.path / "X/data/c/4").stat().st_size
    s3.client().put_object(Bucket="copies", Key=key, Body=bytes(size))
    there = tiny_atlas.copy_to(address, storage_options=s3.options)
    assert (there.read_rows(0, 607) != tiny_atlas.read_rows(0, 607)).nnz == 0


def another(atlas: Atlas, folder: Path) -> Atlas:
    """A store of the same cells with a uuid of its own."""
    from livelatent.atlas import ingest

    adata = atlas.to_anndata()
    folder.mkdir()
    adata[:300].write_h5ad(folder / "other.h5ad")
    return ingest(folder / "other.h5ad", folder / "other.zarr")


def test_another_store_is_replaced_only_when_told(s3: Served, address: str, tiny_atlas: Atlas, tmp_path: Path) -> None:
    other = another(tiny_atlas, tmp_path / "other")
    tiny_atlas.copy_to(address, storage_options=s3.options)
    before = objects(s3, address)
    with pytest.raises(StoreExistsError, match=f"another store .uuid {tiny_atlas.uuid}"):
        other.copy_to(address, storage_options=s3.options)
    assert objects(s3, address) == before
    there = other.copy_to(address, overwrite=True, storage_options=s3.options)
    assert there.uuid == other.uuid and there.n_cells == 300
    names = {name.removeprefix("blood.zarr/") for name in objects(s3, address)}
    assert names == {*files(other.path), "blood.manifest.json"}


def test_a_half_copy_of_another_store_and_strange_files_are_not_replaced(
    s3: Served, address: str, tiny_atlas: Atlas
) -> None:
    s3.client().put_object(Bucket="copies", Key=address.removeprefix("s3://copies/") + "/thesis.docx", Body=b"x")
    for overwrite in (False, True):
        with pytest.raises(StoreExistsError, match=r"thesis\.docx"):
            tiny_atlas.copy_to(address, overwrite=overwrite, storage_options=s3.options)
    folder = Address(address, s3.options).parent
    folder.remove(["blood.zarr/thesis.docx"])
    folder.write("blood.manifest.json.next", transfer.as_bytes({"format": 1, "uuid": "another", "files": {}}))
    with pytest.raises(StoreExistsError, match="part of another store"):
        tiny_atlas.copy_to(address, storage_options=s3.options)
    assert tiny_atlas.copy_to(address, overwrite=True, storage_options=s3.options).n_cells == 607


def test_a_store_that_is_damaged_is_not_sent(s3: Served, address: str, own_atlas: Atlas) -> None:
    (own_atlas.path / "X" / "data" / "c" / "3").unlink()
    with pytest.raises(StoreError, match="X/data/c/3 is missing"):
        own_atlas.copy_to(address, storage_options=s3.options)
    assert objects(s3, address) == {}


def test_a_store_is_fetched_from_a_web_server_with_its_manifest(tiny_atlas: Atlas, tmp_path: Path) -> None:
    with http_server(tiny_atlas.path.parent) as served:
        remote = Atlas.open(f"{served.url}/tiny.zarr")
        here = remote.copy_to(tmp_path / "here.zarr")
        with pytest.raises(StoreExistsError, match="overwrite=True"):
            remote.copy_to(tmp_path / "here.zarr")
        with pytest.raises(StoreError, match="only read"):
            tiny_atlas.copy_to(f"{served.url}/new.zarr")
        with pytest.raises(StoreError, match="both remote"):
            remote.copy_to("s3://copies/new.zarr")
    assert files(here.path) == files(tiny_atlas.path)


def test_a_flipped_bit_on_the_way_leaves_nothing_behind(own_atlas: Atlas, tmp_path: Path) -> None:
    flip(own_atlas.path / "X" / "data" / "c" / "3", 100, 0)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(StoreError, match="X/data/c/3 is not as it was written"):
        own_atlas.copy_to(target / "here.zarr")
    assert [one.name for one in target.iterdir()] == [".here.zarr.lock"]


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a//b", "a/./b", "..\\outside"])
def test_a_manifest_can_name_no_file_outside_the_store(own_atlas: Atlas, tmp_path: Path, name: str) -> None:
    described = manifest.describe(own_atlas.path, own_atlas.uuid)
    described["files"][name] = {"size": 1}
    with pytest.raises(StoreError, match="outside of it"):
        transfer.to_folder(
            own_atlas.path, own_atlas.uuid, described, tmp_path / "x.zarr", overwrite=False, report=lambda *_: None
        )
    assert not (tmp_path / "x.zarr").exists()


def test_a_copy_within_this_machine_is_whole_too(own_atlas: Atlas, tmp_path: Path) -> None:
    own_atlas.labels.label([0], "stays")
    there = own_atlas.copy_to(tmp_path / "there" / "new.zarr")
    assert files(there.path) == files(own_atlas.path) and examine(there.path) == []
    assert there.labels.entries == ()


def test_without_the_right_to_write_it_is_said(s3: Served, address: str, tiny_atlas: Atlas) -> None:
    options = {"endpoint": s3.url, "anonymous": True}
    with pytest.raises(NoPermissionError, match="403"):
        tiny_atlas.copy_to("s3://copies/secret/x.zarr", storage_options=options)


def test_a_manifest_of_before_checksums_still_verifies(own_atlas: Atlas) -> None:
    path = manifest.manifest_path(own_atlas.path)
    told = json.loads(path.read_bytes())
    del told["sha256"]
    for fact in told["files"].values():
        fact.pop("crc32", None)
    path.write_text(json.dumps(told))
    assert Atlas.open(own_atlas.path).n_cells == 607 and examine(own_atlas.path) == []
    shutil.rmtree(own_atlas.path / "obs" / "age" / "c")
    with pytest.raises(StoreError, match="obs/age"):
        Atlas.open(own_atlas.path)
