"""The manifest beside a store: every file's name, size and checksum, every metadata file's hash.

Zarr reads a missing shard as zeros, so a store alone can't tell that it has lost one. The manifest can. It is
renewed in two steps, so that a crash between them leaves a store that still verifies: `NAME.manifest.json.next`
is written before the store changes, and takes the manifest's name afterwards. A file may match either, and those
that one of the two names must all be there.

Opening a store compares names, sizes and the hashes of metadata; `doctor` reads every file and compares all.
"""

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livelatent.atlas.elements import files_of, sha256
from livelatent.atlas.layout import beside
from livelatent.atlas.opening import Place, sizes_of
from livelatent.atomic import sync_folder, write_json
from livelatent.errors import StoreError

Manifest = dict[str, Any]
LARGEST_HASHED = 2**26
FACTS = {"size": int, "sha256": str, "crc32": str}


def manifest_path(store: Path) -> Path:
    """Where the manifest of `store` lies."""
    return beside(store, "manifest.json")


def next_path(store: Path) -> Path:
    """Where the manifest of a write under way lies."""
    return beside(store, "manifest.json.next")


def describe(store: Path, uuid: str, since: Path | None = None) -> Manifest:
    """Name, size and checksum of every file of the store; for metadata and `uns` a hash.

    Parameters
    ----------
    since
        A store whose manifest still holds for files of the same name and size that are older than it: a write of
        one column must not read the matrix again. (Checksums: 7 GB/s where the file is in memory.)
    """
    known, then = {}, 0
    if since is not None:
        with contextlib.suppress(OSError):
            then = manifest_path(since).stat().st_mtime_ns
            known = (load(manifest_path(since), uuid) or {"files": {}})["files"]
    files: dict[str, Any] = {}
    for name in files_of(store):
        status = (store / name).stat()
        fact = known.get(name, {})
        if is_hashed(name):
            files[name] = {"size": status.st_size, "sha256": sha256(store / name)}
        elif "crc32" in fact and fact["size"] == status.st_size and status.st_mtime_ns < then:
            files[name] = fact
        else:
            files[name] = {"size": status.st_size, "crc32": crc32(store / name)}
    return {"format": 1, "uuid": uuid, "files": files, "sha256": own_hash(files)}


def is_hashed(relative: str) -> bool:
    """Metadata, and the small values of `uns`: whatever opening a store compares."""
    return relative.endswith("zarr.json") or relative.startswith("uns/")


def crc32(path: Path) -> str:
    """Checksum of a file of any size."""
    found = 0
    with open(path, "rb") as file:
        while block := file.read(2**22):
            found = zlib.crc32(block, found)
    return f"{found:08x}"


def own_hash(files: dict[str, Any]) -> str:
    """Hash of what a manifest says about files, so that it can't be damaged unseen itself."""
    return hashlib.sha256(json.dumps(files, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextlib.contextmanager
def renewed(store: Path, uuid: str) -> Iterator[None]:
    """Around the visible part of a write: until it ends, both states of each changed file verify.

    The block must have been prepared so that it only renames files into place and rewrites metadata.
    """
    settle_what_stands(store)
    write_next(store, {"format": 1, "uuid": uuid, "files": {}, "open": True})
    yield
    write_next(store, describe(store, uuid, since=store))
    settle(store)


@contextlib.contextmanager
def next_or_none(store: Path) -> Iterator[None]:
    """Around the making of a store: what was announced is forgotten if it fails."""
    try:
        yield
    except BaseException:
        next_path(store).unlink(missing_ok=True)
        raise


def write_next(store: Path, manifest: Manifest) -> None:
    """Announce what the store is about to be."""
    write_json(next_path(store), manifest)


def settle(store: Path) -> None:
    """Give the next manifest the manifest's name."""
    os.replace(next_path(store), manifest_path(store))
    sync_folder(store.parent)


def settle_what_stands(store: Path) -> None:
    """Settle the next manifest where the store is what it says already: its writer died between the two.

    Announcing another write over it would leave the store with the manifest of an earlier one only.
    """
    try:
        found = json.loads(next_path(store).read_bytes())
        known = load(next_path(store), found["uuid"])
        stands = known is not None and "open" not in known and not first_problem(store, [known], sorted(known["files"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return
    if stands:
        settle(store)


def load(path: Path, uuid: str) -> Manifest | None:
    """The manifest at `path`, or None where it is absent, broken or another store's."""
    try:
        return parsed(path.read_bytes(), uuid)
    except OSError:
        return None


def parsed(data: bytes, uuid: str) -> Manifest | None:
    """The manifest in these bytes, or None where there is none of this store."""
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or manifest.get("uuid") != uuid or manifest.get("format") != 1:
        return None
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(is_inside(name) and is_fact(files[name]) for name in files):
        return None
    if "sha256" in manifest:
        return manifest if manifest["sha256"] == own_hash(files) else None
    # Without a hash of its own: an announcement, or of before there was one. These fields are all that they know.
    is_known = set(manifest) <= {"format", "uuid", "files", "open"}
    return manifest if is_known and all(set(fact) <= FACTS.keys() for fact in files.values()) else None


def is_fact(fact: object) -> bool:
    """Whether this says something about a file that can be compared."""
    return (
        isinstance(fact, dict)
        and isinstance(fact.get("size"), int)
        and all(isinstance(fact[name], kind) for name, kind in FACTS.items() if name in fact)
    )


def is_inside(name: str) -> bool:
    """Whether a file of this name lies in the store: a manifest is a text that somebody else may have written."""
    return "\\" not in name and set(name.split("/")).isdisjoint({"", ".", ".."})


def found_beside(store: Place, uuid: str) -> tuple[bool, list[Manifest]]:
    """Whether a manifest lies beside the store, and those that can be used: as it was, and as it is about to be."""
    paths = [f"{beside_name(store)}.manifest.json{end}" for end in ("", ".next")]
    if isinstance(store, Path):
        data = [read_or_none(store.parent / name) for name in paths]
    else:
        above = store.parent
        data = [above.read(name) for name in paths] if above.name != store.name else [None, None]
    known = [parsed(one, uuid) for one in data if one is not None]
    return data[0] is not None, [one for one in known if one is not None]


def beside_name(store: Place) -> str:
    """`blood` for `blood.zarr`."""
    return store.name.removesuffix(".zarr") or store.name


def read_or_none(path: Path) -> bytes | None:
    """A small file, or None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def to_compare(known: list[Manifest]) -> list[Manifest]:
    """The manifests that a store must match one of, file by file.

    A write of ours that was cut off only moves whole columns in and out, so what the matrix and the names must be
    is still told by the older manifest; the columns' own checksums guard the rest.
    """
    if not any(manifest.get("open") for manifest in known):
        return known
    settled = [manifest for manifest in known if not manifest.get("open")]
    kept = ("X/", "layers/", "var/", "uns/")
    return [
        {**one, "files": {name: fact for name, fact in one["files"].items() if name.startswith(kept)}}
        for one in settled[:1]
    ]


def verify(store: Place, uuid: str) -> bool:
    """Compare the store with its manifest; False where there is none (a store that was moved alone).

    Raises
    ------
    StoreError
        If a file is missing, of another size, or (metadata) of other contents.
    """
    is_there, found = found_beside(store, uuid)
    name_here = f"{beside_name(store)}.manifest.json"
    if not found and is_there:
        raise StoreError(
            f"{store.parent}/{name_here} is damaged, or of another store than {store} (uuid {uuid}). Copy both again, "
            "or delete the manifest to open the store unverified."
        )
    known = to_compare(found)
    if not known:
        return False
    problem = None
    for manifest in reversed(known):
        found_wrong = first_problem(store, known, sorted(manifest["files"]))
        if found_wrong is None:
            if not isinstance(store, Path):
                store.expect(manifest["files"])
            return True
        problem = problem or found_wrong
    assert problem is not None
    raise problem


def first_problem(store: Place, known: list[Manifest], names: list[str]) -> StoreError | None:
    """What is wrong with the first of these files that is as none of the manifests says."""
    facts = {name: [one["files"][name] for one in known if name in one["files"]] for name in names}
    name_here = f"{beside_name(store)}.manifest.json"
    sizes = sizes_of(store, names)
    for name in names:
        if name not in sizes:
            return StoreError(
                f"{store}: the file {name} is missing (it is in {name_here}). Zarr would read it "
                "as zeros. Copy the store again, or ingest its sources again."
            )
        if all(fact["size"] != sizes[name] for fact in facts[name]):
            return StoreError(
                f"{store}: the file {name} has {sizes[name]} bytes, {facts[name][0]['size']} were written. Copy the "
                "store again, or ingest its sources again."
            )
    hashed = [name for name in names if any("sha256" in fact for fact in facts[name])]
    large = next((name for name in hashed if sizes[name] > LARGEST_HASHED), None)
    if large is not None:
        return StoreError(f"{store}: the file {large} has {sizes[large]} bytes, which no file of its kind has.")
    for name, data in contents_of(store, hashed):
        if hashlib.sha256(data).hexdigest() not in [fact.get("sha256") for fact in facts[name]]:
            return StoreError(
                f"{store}: the file {name} is not as it was written (its sha256 differs). Copy the store again, "
                f"or, if you changed it on purpose, delete {name_here} to open it unverified."
            )
    return None


def contents_of(store: Place, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Several small files of a store."""
    if isinstance(store, Path):
        yield from ((name, (store / name).read_bytes()) for name in names)
    else:
        yield from ((name, data or b"") for name, data in store.contents(names))
