"""Opening a store: is it ours, of this version, and all there?"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr

from livelatent.atlas.elements import read_element
from livelatent.atlas.layout import FORMAT
from livelatent.errors import StoreError
from livelatent.paths import is_address, store_path

if TYPE_CHECKING:
    from livelatent.atlas.remote import Address

type Place = Path | Address
"""Where a store lies: a folder here, or an address."""


def store_place(path: "str | os.PathLike[str] | Address", options: Mapping[str, Any] | None = None) -> Place:
    """The one name of a store: its folder, links followed, or its address."""
    if isinstance(path, str | os.PathLike) and not is_address(path):
        if options:
            raise StoreError(f"{path} is a path on this machine; storage_options= are for addresses such as s3://...")
        return store_path(path, StoreError)
    from livelatent.atlas.remote import Address

    return Address(os.fspath(path), options) if isinstance(path, str | os.PathLike) else path


def zarr_of(place: Place) -> Any:
    """What Zarr opens for a place."""
    return place if isinstance(place, Path) else place.zarr_store


def warm(place: Place, prefix: str) -> None:
    """Fetch the small files of a part of a remote store together; nothing to do for a folder."""
    if not isinstance(place, Path):
        place.warm(prefix)


def sizes_of(place: Place, names: Iterable[str]) -> dict[str, int]:
    """Size of each of these files of a store that exists."""
    if not isinstance(place, Path):
        return place.sizes(names)
    found = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found[name] = (place / name).stat().st_size
    return found


class damage_named:
    """Turn what a decoder raises into a StoreError that names the store, and the files where they are known."""

    def __init__(self, path: Place, where: Callable[[], str] | None = None) -> None:
        self.path, self.where = path, where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (StoreError, MemoryError, PermissionError)):
            return
        if isinstance(error, Exception):
            place = self.where() if self.where else "a file of it"
            raise StoreError(
                f"{self.path}: {place} is damaged or unreadable ({error}). Copy the store again, or ingest its "
                "sources again."
            ) from error


def open_root(path: Place) -> tuple[zarr.Group, dict[str, Any]]:
    """The store's root group and its `uns["livelatent"]`."""
    if isinstance(path, Path):
        if not (path / "zarr.json").is_file():
            what = "does not exist" if not path.exists() else "is no Zarr v3 store"
            meant = path.with_name(f"{path.name}.zarr")
            if not path.exists() and (meant / "zarr.json").is_file():
                raise StoreError(f"{path} {what}; {meant} does. Name that one.")
            raise StoreError(f"{path} {what}. Make a store of your files with `ingest(sources, {path.name!r})`.")
    elif path.read("zarr.json") is None:
        raise StoreError(
            f"{path} is no Zarr v3 store: there is no zarr.json. Check the address; a store is put there by "
            "`Atlas.open(folder).copy_to(address)`, its zarr.json last."
        )
    with damage_named(path, lambda: "its metadata (zarr.json)"):
        root = zarr.open_group(zarr_of(path), mode="r", zarr_format=3)
        if "uns/livelatent" not in root:
            raise StoreError(f"{path} was not written by livelatent. Export it as .h5ad and `ingest` that.")
        facts = read_element(root["uns/livelatent"])
    if int(facts["format"]) != FORMAT:
        raise StoreError(
            f"{path} has format {facts['format']}, this version of livelatent reads {FORMAT}. "
            "Install the livelatent that wrote it, or ingest its sources again."
        )
    return root, facts


def array_in(group: zarr.Group, name: str) -> "zarr.Array[Any]":
    """An array of a group."""
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise StoreError(f"{group.store_path}: {name} is no array. The store is damaged.")
    return found


def group_in(group: zarr.Group, name: str) -> zarr.Group:
    """A group of a group."""
    found = group[name]
    if not isinstance(found, zarr.Group):
        raise StoreError(f"{group.store_path}: {name} is no group. The store is damaged.")
    return found


def check_shards(path: Place, root: zarr.Group, matrix: str = "X") -> None:
    """Every shard of the matrix exists: Zarr would read a missing one as zeros."""
    wanted = []
    for part in ("data", "indices"):
        array = array_in(root, f"{matrix}/{part}")
        n_shards = -(-array.shape[0] // (array.shards or array.chunks)[0])
        wanted += [f"{matrix}/{part}/c/{shard}" for shard in range(n_shards)]
    found = sizes_of(path, wanted)
    for name in wanted:
        if not found.get(name):
            raise StoreError(
                f"{path}: the file {name} is missing. Zarr would read it as zeros. "
                "Copy the store again, or ingest its sources again."
            )
