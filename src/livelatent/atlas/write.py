"""Add or replace elements of a store that stands, so that it is readable after every step.

The consolidated metadata decides what plain anndata sees, so it goes last when something comes and first when
something goes. Replacing is going and coming: a crash in between leaves the store without those elements, whose
source (the journal, the model, the counts) is still there.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float
from numpy import ndarray
from zarr.codecs import ZstdCodec

from livelatent.atlas import manifest
from livelatent.atlas.elements import consolidate, write_element
from livelatent.atlas.opening import array_in, open_root
from livelatent.atlas.stored_matrix import Standing
from livelatent.atomic import need_space, only_writer, refusals_named, sync_folder, sync_tree, write_bytes
from livelatent.errors import StoreError

ARRAY_CHUNK_BYTES = 1_000_000
ARRAY_SHARD_BYTES = 32_000_000
"""A streamed array is held and written shard by shard; one file each, 1,250 for 100 M cells x 100 float32."""


@dataclass(frozen=True)
class Element:
    """One column or array, to be written as `group/name`."""

    group: str
    name: str
    value: Any
    marks: dict[str, str] = field(default_factory=dict)
    """Attributes that tell it from a user's own."""


def replace_element(
    store: Path, uuid: str, group: str, name: str, value: Any, marks: dict[str, str] | None = None
) -> None:
    """Write `value` as `group/name`; `marks` are attributes that tell it from a user's own."""
    replace_elements(store, uuid, [Element(group, name, value, marks or {})])


def replace_elements(store: Path, uuid: str, elements: Sequence[Element]) -> None:
    """Write several, which become visible together."""
    with writer_of(store), aside_of(store, elements[0].group) as aside:
        for group in {element.group for element in elements}:
            zarr.open_group(aside / "new" / group, mode="w", zarr_format=3)
        for element in elements:
            scratch = zarr.open_group(aside / "new" / element.group, mode="a", zarr_format=3)
            write_element(scratch, element.name, element.value)
            if element.marks:
                scratch[element.name].attrs.update(element.marks)
        sync_tree(aside)
        move_in(store, uuid, aside, [(element.group, element.name) for element in elements])


@contextlib.contextmanager
def streamed_obsm(store: Path, uuid: str, name: str, n_cells: int, n_dims: int) -> Iterator["RowWriter"]:
    """Give a writer of `n_cells` rows of float32; they are `obsm/name`, whole, when the block ends well.

    Notes
    -----
    Others may write to the store meanwhile: its lock is held only while the finished array is moved in.

    Raises
    ------
    DiskSpaceError
        If the array would not fit, before any work is done.
    ValueError
        If fewer or more rows were written.
    """
    need_space(store, 4 * n_cells * n_dims, f"obsm/{name} of {store}")
    with refusals_named(store), aside_of(store, "obsm") as aside:
        scratch = zarr.open_group(aside / "new" / "obsm", mode="w", zarr_format=3)
        chunk = max(1, min(n_cells, ARRAY_CHUNK_BYTES // (4 * max(n_dims, 1))))
        n_chunks = max(1, min(ARRAY_SHARD_BYTES // ARRAY_CHUNK_BYTES, -(-n_cells // chunk)))
        array = scratch.create_array(
            name,
            shape=(n_cells, n_dims),
            dtype=np.float32,
            chunks=(chunk, max(n_dims, 1)),
            shards=(n_chunks * chunk, max(n_dims, 1)),
            compressors=ZstdCodec(level=3, checksum=True),
            # A shard of nothing but the fill value is not written, and would pass for one that was lost: zarrs, which
            # somebody may have set for the whole process, writes none whatever it is told. So no zeros, which come.
            fill_value=float(np.finfo(np.float32).min),
            config={"write_empty_chunks": True},
            attributes={"encoding-type": "array", "encoding-version": "0.2.0"},
        )
        writer = RowWriter(array, n_chunks * chunk)
        yield writer
        writer.finish()
        sync_tree(aside)
        with writer_of(store):
            move_in(store, uuid, aside, [("obsm", name)])


class RowWriter:
    """Rows appended to an array of known length, a shard of them at a time."""

    def __init__(self, array: "zarr.Array[Any]", shard_rows: int) -> None:
        self._array = array
        self._buffer = np.empty((min(shard_rows, array.shape[0]), array.shape[1]), np.float32)
        self._held = self._written = 0

    def append(self, rows: Float[ndarray, "cell dim"]) -> None:
        """Take the next rows."""
        if self._written + self._held + len(rows) > self._array.shape[0]:
            raise ValueError(f"{self._array.shape[0]} rows were to be written, and more came.")
        done = 0
        while done < len(rows):
            part = rows[done : done + len(self._buffer) - self._held]
            self._buffer[self._held : self._held + len(part)] = part
            self._held += len(part)
            done += len(part)
            if self._held == len(self._buffer):
                self._flush()

    def finish(self) -> None:
        """Write what is held; all rows must have come."""
        self._flush()
        if self._written != self._array.shape[0]:
            raise ValueError(f"{self._array.shape[0]} rows were to be written; {self._written} came.")

    def _flush(self) -> None:
        if self._held:
            self._array[self._written : self._written + self._held] = self._buffer[: self._held]
        self._written += self._held
        self._held = 0


@contextlib.contextmanager
def writer_of(store: Path) -> Iterator[None]:
    """Be the store's only writer, and name what the system refuses."""
    with only_writer(store.with_name(f".{store.name}.lock"), f"the store {store}"), refusals_named(store):
        yield


@contextlib.contextmanager
def aside_of(store: Path, what: str) -> Iterator[Path]:
    """A folder beside the store, on its file system, that is gone afterwards."""
    aside = Path(tempfile.mkdtemp(prefix=f".{store.name}.{what}.", suffix=".partial", dir=store.parent))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def move_in(store: Path, uuid: str, aside: Path, elements: Sequence[tuple[str, str]]) -> None:
    """Put what lies in `aside/new` in the store, in place of what bears its name, and make it visible.

    Raises
    ------
    StoreError
        If the store is another now, or has grown since: the elements would be of other cells.
    """
    check_cells(store, uuid, aside, elements)
    with manifest.renewed(store, uuid):
        old = [(group, name) for group, name in elements if (store / group / name).exists()]
        for group, name in old:
            list_columns(store, group, name, listed=False)
        if old:
            consolidate_without(store, [f"{group}/{name}" for group, name in old])
        for number, (group, name) in enumerate(old):
            os.rename(store / group / name, aside / f"old{number}")
        for group, name in elements:
            os.rename(aside / "new" / group / name, store / group / name)
            sync_folder(store / group)
            list_columns(store, group, name, listed=True)
        consolidate(store)


def check_cells(store: Path, uuid: str, aside: Path, elements: Sequence[tuple[str, str]]) -> None:
    """Raise where the elements are not those of the store that stands now."""
    Standing(store, uuid).check()
    n_cells = array_in(open_root(store)[0], "obs/_index").shape[0]
    for group, name in elements:
        if group == "var":
            continue
        new = zarr.open_group(aside / "new" / group, mode="r", zarr_format=3)[name]
        parts = {"": new} if isinstance(new, zarr.Array) else dict(new.arrays())
        first = next(array for part, array in parts.items() if part in ("", "codes", "values"))
        if first.shape[0] != n_cells:
            raise StoreError(
                f"{store} has grown to {n_cells} cells since it was opened, and {group}/{name} was made for "
                f"{first.shape[0]}. Open it again, and make it anew."
            )


def list_columns(store: Path, group: str, name: str, *, listed: bool) -> None:
    """Name a column in its table's list of columns, or strike it out."""
    if group not in ("obs", "var"):
        return
    path = store / group / "zarr.json"
    described = json.loads(path.read_bytes())
    columns = [column for column in described["attributes"]["column-order"] if column != name]
    described["attributes"]["column-order"] = [*columns, name] if listed else columns
    write_bytes(path, json.dumps(described, indent=1).encode())


def consolidate_without(store: Path, elements: Sequence[str]) -> None:
    """Consolidated metadata as if `elements` were gone already."""
    consolidate(store)
    root = json.loads((store / "zarr.json").read_bytes())
    found = root["consolidated_metadata"]["metadata"]
    root["consolidated_metadata"]["metadata"] = {
        key: value
        for key, value in found.items()
        if not any(key == element or key.startswith(f"{element}/") for element in elements)
    }
    write_bytes(store / "zarr.json", json.dumps(root, indent=1).encode())
