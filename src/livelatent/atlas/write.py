"""Add or replace one element of a store that stands, so that it is readable after every step.

The consolidated metadata decides what plain anndata sees, so it goes last when something comes and first when
something goes. Replacing is going and coming: a crash in between leaves the store without that one element, whose
source (the journal, the model) is still there.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import zarr

from livelatent.atlas import manifest
from livelatent.atlas.elements import consolidate, write_element
from livelatent.atomic import only_writer, refusals_named, sync_folder, sync_tree, write_bytes


def replace_element(
    store: Path, uuid: str, group: str, name: str, value: Any, marks: dict[str, str] | None = None
) -> None:
    """Write `value` as `group/name`; `marks` are attributes that tell it from a user's own."""
    with only_writer(store.with_name(f".{store.name}.lock"), f"the store {store}"), refusals_named(store):
        aside = Path(tempfile.mkdtemp(prefix=f".{store.name}.{group}.", suffix=".partial", dir=store.parent))
        try:
            scratch = zarr.open_group(aside / "new", mode="w", zarr_format=3)
            write_element(scratch, name, value)
            if marks:
                scratch[name].attrs.update(marks)
            sync_tree(aside)
            with manifest.renewed(store, uuid):
                place = store / group / name
                if place.exists():
                    list_columns(store, group, name, listed=False)
                    consolidate_without(store, f"{group}/{name}")
                    os.rename(place, aside / "old")
                os.rename(aside / "new" / name, place)
                sync_folder(place.parent)
                list_columns(store, group, name, listed=True)
                consolidate(store)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def list_columns(store: Path, group: str, name: str, *, listed: bool) -> None:
    """Name a column in obs's list of columns, or strike it out."""
    if group != "obs":
        return
    path = store / group / "zarr.json"
    described = json.loads(path.read_bytes())
    columns = [column for column in described["attributes"]["column-order"] if column != name]
    described["attributes"]["column-order"] = [*columns, name] if listed else columns
    write_bytes(path, json.dumps(described, indent=1).encode())


def consolidate_without(store: Path, element: str) -> None:
    """Consolidated metadata as if `element` were gone already."""
    consolidate(store)
    root = json.loads((store / "zarr.json").read_bytes())
    found = root["consolidated_metadata"]["metadata"]
    root["consolidated_metadata"]["metadata"] = {
        key: value for key, value in found.items() if key != element and not key.startswith(f"{element}/")
    }
    write_bytes(store / "zarr.json", json.dumps(root, indent=1).encode())
