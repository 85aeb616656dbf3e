"""The manifest beside a store: every file's name and size, every metadata file's hash.

Zarr reads a missing shard as zeros, so a store alone can't tell that it has lost one. The manifest can. It is
renewed in two steps, so that a crash between them leaves a store that still verifies: `NAME.manifest.json.next`
is written before the store changes, and takes the manifest's name afterwards. A file may match either.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livelatent.atlas.elements import sha256
from livelatent.atlas.layout import beside
from livelatent.atomic import sync_folder, write_json
from livelatent.errors import StoreError

Manifest = dict[str, Any]


def manifest_path(store: Path) -> Path:
    """Where the manifest of `store` lies."""
    return beside(store, "manifest.json")


def next_path(store: Path) -> Path:
    """Where the manifest of a write under way lies."""
    return beside(store, "manifest.json.next")


def describe(store: Path, uuid: str) -> Manifest:
    """Name, size and (for metadata and `uns`) hash of every file of the store."""
    files: dict[str, Any] = {}
    for root, folders, names in os.walk(store):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            relative = path.relative_to(store).as_posix()
            files[relative] = {"size": path.stat().st_size}
            if is_hashed(relative):
                files[relative]["sha256"] = sha256(path)
    return {"format": 1, "uuid": uuid, "files": files}


def is_hashed(relative: str) -> bool:
    """Metadata, and the small values of `uns`, which carry no checksum of their own."""
    return relative.endswith("zarr.json") or relative.startswith("uns/")


@contextlib.contextmanager
def renewed(store: Path, uuid: str) -> Iterator[None]:
    """Around the visible part of a write: until it ends, both states of each changed file verify.

    The block must have been prepared so that it only renames files into place and rewrites metadata.
    """
    write_next(store, {"format": 1, "uuid": uuid, "files": {}, "open": True})
    yield
    write_next(store, describe(store, uuid))
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


def load(path: Path, uuid: str) -> Manifest | None:
    """The manifest at `path`, or None where it is absent, broken or another store's."""
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or manifest.get("uuid") != uuid or manifest.get("format") != 1:
        return None
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(fact, dict) and "size" in fact for fact in files.values()):
        return None
    return manifest


def verify(store: Path, uuid: str) -> bool:
    """Compare the store with its manifest; False where there is none (a store that was moved alone).

    Raises
    ------
    StoreError
        If a file is missing, of another size, or (metadata) of other contents.
    """
    known = [m for m in (load(manifest_path(store), uuid), load(next_path(store), uuid)) if m is not None]
    if not known and manifest_path(store).exists():
        raise StoreError(
            f"{manifest_path(store)} is damaged, or of another store than {store} (uuid {uuid}). Copy both again, "
            "or delete the manifest to open the store unverified."
        )
    if not known:
        return False
    if any(manifest.get("open") for manifest in known):
        # A write of ours was cut off. It only moves whole columns in and out, so what the matrix and the names
        # must be is still told by the older manifest; the columns' own checksums guard the rest.
        known = [m for m in known if not m.get("open")]
        if not known:
            return False
        kept = {name: fact for name, fact in known[0]["files"].items() if name.startswith(("X/", "var/", "uns/"))}
        known = [{**known[0], "files": kept}]
    newest = known[-1]
    for name in sorted(newest["files"]):
        facts = [manifest["files"][name] for manifest in known if name in manifest["files"]]
        path = store / name
        try:
            size = path.stat().st_size
        except OSError:
            raise StoreError(
                f"{store}: the file {name} is missing (it is in {manifest_path(store).name}). Zarr would read it "
                "as zeros. Copy the store again, or ingest its sources again."
            ) from None
        if all(fact["size"] != size for fact in facts):
            raise StoreError(
                f"{store}: the file {name} has {size} bytes, {facts[0]['size']} were written. Copy the store "
                "again, or ingest its sources again."
            )
        hashes = [fact["sha256"] for fact in facts if "sha256" in fact]
        if hashes and sha256(path) not in hashes:
            raise StoreError(
                f"{store}: the file {name} is not as it was written (its sha256 differs). Copy the store again, "
                f"or, if you changed it on purpose, delete {manifest_path(store).name} to open it unverified."
            )
    return True
