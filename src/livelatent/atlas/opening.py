"""Opening a store: is it ours, of this version, and all there?"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import zarr

from livelatent.atlas.elements import read_element
from livelatent.atlas.layout import FORMAT
from livelatent.errors import StoreError


class damage_named:
    """Turn what a decoder raises into a StoreError that names the store, and the files where they are known."""

    def __init__(self, path: Path, where: Callable[[], str] | None = None) -> None:
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


def on_zarrs() -> AbstractContextManager[Any]:
    """Arrays opened or made inside the block are coded by zarrs, in threads, for as long as they live."""
    setting: AbstractContextManager[Any] = zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return setting


def open_root(path: Path) -> tuple[zarr.Group, dict[str, Any]]:
    """The store's root group and its `uns["livelatent"]`."""
    if not (path / "zarr.json").is_file():
        what = "does not exist" if not path.exists() else "is no Zarr v3 store"
        raise StoreError(f"{path} {what}. Make a store of your files with `ingest(sources, {path.name!r})`.")
    with damage_named(path, lambda: "its metadata (zarr.json)"):
        root = zarr.open_group(path, mode="r", zarr_format=3)
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


def check_shards(path: Path, root: zarr.Group) -> None:
    """Every shard of the matrix exists: Zarr would read a missing one as zeros."""
    for name in ("data", "indices"):
        array = array_in(root, f"X/{name}")
        n_shards = -(-array.shape[0] // (array.shards or array.chunks)[0])
        for shard in range(n_shards):
            if not (path / "X" / name / "c" / str(shard)).is_file():
                raise StoreError(
                    f"{path}: the file X/{name}/c/{shard} is missing. Zarr would read it as zeros. "
                    "Copy the store again, or ingest its sources again."
                )
