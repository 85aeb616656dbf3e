"""A finished store to another place: data first, what makes it a store last, every byte accounted for."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livelatent.atlas import manifest
from livelatent.atlas.building.target import refuse_existing
from livelatent.atlas.elements import sha256
from livelatent.atlas.opening import Place, open_root
from livelatent.atomic import fresh_folder, need_space, only_writer
from livelatent.errors import LivelatentError, StoreError, StoreExistsError
from livelatent.progress import CellProgress

if TYPE_CHECKING:
    from livelatent.atlas.remote import Address

FILES_AT_ONCE = 8
WHOLE_BYTES = 256 * 2**20
"""Up to here a file is put in one request, whose e_tag is its MD5 where the server keeps to S3's custom."""


def copy_store(store: Place, uuid: str, target: Place, *, overwrite: bool, progress: CellProgress | None) -> None:
    """Copy a store and its manifest; see `Atlas.copy_to`."""
    report = progress or (lambda done, total, what: None)
    listed = listed_files(store, uuid)
    if isinstance(target, Path):
        to_folder(store, uuid, listed, target, overwrite=overwrite, report=report)
    elif isinstance(store, Path):
        to_address(store, uuid, listed, target, overwrite=overwrite, report=report)
    else:
        raise StoreError(f"{store} and {target} are both remote. Copy the store to this machine first, then from here.")


def listed_files(store: Place, uuid: str) -> manifest.Manifest:
    """The manifest of a store that agrees with it.

    Raises
    ------
    StoreError
        If it does not, or there is none and the files can't be told.
    """
    if manifest.verify(store, uuid):
        found = manifest.found_beside(store, uuid)[1]
        if len(found) == 1 and not found[0].get("open"):
            return found[0]
        raise StoreError(
            f"a write to {store} was cut off or is under way. Finish it, or run `livelatent doctor --mend`."
        )
    if isinstance(store, Path):
        return manifest.describe(store, uuid)
    names = store.listed()
    if names is None:
        raise StoreError(
            f"{store} has no manifest beside it ({manifest.beside_name(store)}.manifest.json), and plain http can't "
            "list files, so what belongs to the store can't be told. Put the manifest there."
        )
    return {"format": 1, "uuid": uuid, "files": {name: {"size": fact["size"]} for name, fact in names.items()}}


def to_folder(
    store: Place, uuid: str, listed: manifest.Manifest, target: Path, *, overwrite: bool, report: CellProgress
) -> None:
    """Copy to this machine: whole or absent, each file's size and checksum compared."""
    files = listed["files"]
    total = sum(fact["size"] for fact in files.values())
    for name in files:
        check_name(store, name)
    with only_writer(target.with_name(f".{target.name}.lock"), f"the store {target}"):
        refuse_existing(target, overwrite=overwrite)
        need_space(target, total, f"A copy of {store}")
        with manifest.next_or_none(target), fresh_folder(target) as aside:

            def fetch(name: str) -> int:
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(store, Path):
                    shutil.copyfile(store / name, aside / name)
                else:
                    store.fetch(name, aside / name)
                return int(files[name]["size"])

            each(fetch, files, lambda done: report(done, total, f"copying {store.name}"))
            check_copy(aside, files, store)
            manifest.write_next(target, manifest.describe(aside, uuid))
        manifest.settle(target)


def check_name(store: Place, name: str) -> None:
    """A manifest is somebody else's text: no name of it may lead out of the store."""
    if not manifest.is_inside(name):
        raise StoreError(f"{store}: its manifest names a file outside of it ({name!r}). Nothing was copied.")


def check_copy(copy: Path, files: dict[str, Any], store: Place) -> None:
    """Every file came whole."""
    for name, fact in files.items():
        path = copy / name
        same = path.stat().st_size == fact["size"]
        if "sha256" in fact:
            same = same and sha256(path) == fact["sha256"]
        if "crc32" in fact:
            same = same and manifest.crc32(path) == fact["crc32"]
        if not same:
            raise StoreError(
                f"{store}: the file {name} is not as it was written (its size or checksum differs). Nothing was copied."
            )


def to_address(
    store: Path, uuid: str, listed: manifest.Manifest, target: "Address", *, overwrite: bool, report: CellProgress
) -> None:
    """Copy to a bucket. Until zarr.json is there, last of all, nobody takes it for a store."""
    found = target.listed()
    if found is None:
        raise StoreError(f"{target}: plain http is only read. Name a bucket (s3://, gs://), or a folder.")
    files = listed["files"]
    above, name = target.parent, manifest.beside_name(target)
    if above.name == target.name:
        raise StoreError(f"{target} is a whole bucket. Name a store in it: {target}/{store.name}.")
    announced = above.read(f"{name}.manifest.json.next")
    refuse_strangers(target, uuid, files, found, announced, overwrite=overwrite)
    if "zarr.json" in found and not is_same(target, uuid, listed):
        target.remove(["zarr.json"])
    above.write(f"{name}.manifest.json.next", as_bytes({"format": 1, "uuid": uuid, "files": {}, "open": True}))
    total = sum(fact["size"] for fact in files.values())

    def send(one: str) -> int:
        there = found.get(one)
        if there is None or there["size"] != files[one]["size"] or not is_unchanged(store / one, there["e_tag"]):
            target.put(one, store / one, whole=files[one]["size"] <= WHOLE_BYTES)
        return int(files[one]["size"])

    metadata = {one for one in files if one.endswith("zarr.json")}
    each(send, sorted(files.keys() - metadata), lambda done: report(done, total, f"copying to {target}"))
    each(send, sorted(metadata - {"zarr.json"}), lambda _: None)
    target.remove(sorted(found.keys() - files.keys()))
    arrived = {one: fact["size"] for one, fact in (target.listed() or {}).items()}
    short = [one for one in files if one != "zarr.json" and arrived.get(one) != files[one]["size"]]
    if short:
        raise StoreError(f"{target}: {len(short)} files did not arrive whole (first: {short[0]}). Run it again.")
    if listed_files(store, uuid)["files"] != files:
        raise StoreError(f"{store} was written to while it was copied. Run it again: what has arrived is kept.")
    above.write(f"{name}.manifest.json", as_bytes(listed))
    send("zarr.json")
    above.remove([f"{name}.manifest.json.next"])


def refuse_strangers(
    target: "Address",
    uuid: str,
    files: dict[str, Any],
    found: dict[str, Any],
    announced: bytes | None,
    *,
    overwrite: bool,
) -> None:
    """Raise where something stands that is neither this store nor a part of it."""
    if "zarr.json" in found:
        try:
            its_uuid = str(open_root(target)[1]["uuid"])
        except LivelatentError:
            its_uuid = ""
        if its_uuid == uuid or overwrite:
            return
        what = f"another store (uuid {its_uuid})" if its_uuid else "a Zarr store that is none of ours, or damaged"
        raise StoreExistsError(f"{target} holds {what}. Pass overwrite=True to replace it, or name another place.")
    if announced is not None and manifest.parsed(announced, uuid) is None and not overwrite:
        raise StoreExistsError(
            f"{target} holds a part of another store, whose copy was cut off. Pass overwrite=True to replace it, or "
            "name another place."
        )
    strange = sorted(found.keys() - files.keys())
    if strange and announced is None:
        raise StoreExistsError(
            f"{target} holds files that are no store's (such as {strange[0]}); they are not replaced. Name another "
            "place."
        )


def is_same(target: "Address", uuid: str, listed: manifest.Manifest) -> bool:
    """Whether the very same store lies there already."""
    found = manifest.found_beside(target, uuid)[1]
    return [one["files"] for one in found] == [listed["files"]]


def is_unchanged(file: Path, e_tag: str | None) -> bool:
    """Whether an object's e_tag is the MD5 of this file (that of one sent in parts, or encrypted, is none)."""
    told = (e_tag or "").strip('"').lower()
    if len(told) != 32 or file.stat().st_size > WHOLE_BYTES:
        return False
    with open(file, "rb") as data:
        return hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == told


def as_bytes(value: manifest.Manifest) -> bytes:
    """A manifest as it is written."""
    return (json.dumps(value, indent=1) + "\n").encode()


def each(function: Callable[[str], int], names: Iterable[str], report: Callable[[int], None]) -> None:
    """Call it for every name, some at a time; the first error ends it. What it returns is summed and reported."""
    report(done := 0)
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="livelatent-copy") as pool:
        try:
            for n_bytes in pool.map(function, names):
                done += n_bytes
                report(done)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
