"""What a store holds and what it takes: every element's shape, number types, compression and size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from livelatent.atlas import manifest
from livelatent.atlas.atlas import Atlas
from livelatent.atlas.elements import files_of
from livelatent.atlas.opening import array_in, damage_named, open_root, sizes_of


@dataclass(frozen=True)
class StoredElement:
    """One matrix, table column or array of a store."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Of a sparse matrix its values' and its indices'; of a column of names that of its codes."""
    compression: str
    """Codecs in the order in which they were applied; empty where the values lie as they are."""
    stored_bytes: int


def inventory(atlas: Atlas) -> list[StoredElement]:
    """Every element of the store, X and layers first; sizes are what lies on the disk or in the bucket."""
    root, _ = open_root(atlas.path)
    with damage_named(atlas.path):
        arrays = {name: item for name, item in root.members(max_depth=None) if isinstance(item, zarr.Array)}
    sizes = stored_sizes(atlas)
    names = {element_of(name, root): None for name in arrays}
    result = []
    for name in names:
        mine = {path: item for path, item in arrays.items() if path == name or path.startswith(f"{name}/")}
        first = main_array(name, root, mine)
        dtype = str(first.dtype)
        if f"{name}/indices" in mine:
            dtype += f", indices {mine[f'{name}/indices'].dtype}"
        shape: Any = root[name].attrs.get("shape", first.shape)
        taken = sum(size for path, size in sizes.items() if path.startswith(f"{name}/"))
        result.append(StoredElement(name, tuple(int(n) for n in shape), dtype, codecs_of(first), taken))
    return sorted(result, key=lambda one: (not one.name.startswith(("X", "layers/")), one.name))


def element_of(array: str, root: zarr.Group) -> str:
    """The element that an array is a part of: `X`, `obs/cell_type`, `obsm/X_pca`, `uns/livelatent`."""
    parts = array.split("/")
    return parts[0] if parts[0] == "X" else "/".join(parts[:2])


def main_array(name: str, root: zarr.Group, arrays: "dict[str, zarr.Array[Any]]") -> "zarr.Array[Any]":
    """The array that the element's values are in."""
    for part in ("data", "codes", "values"):
        if f"{name}/{part}" in arrays:
            return array_in(root, f"{name}/{part}")
    return arrays.get(name) or next(iter(arrays.values()))


def codecs_of(array: "zarr.Array[Any]") -> str:
    """Such as "blosc lz4, zstd"."""
    words = []
    for codec in array.compressors:
        told: Any = codec.to_dict() if hasattr(codec, "to_dict") else {"name": type(codec).__name__}
        inner = told.get("configuration", {})
        words.append(" ".join(str(word) for word in (told.get("name"), inner.get("cname")) if word))
    return ", ".join(words)


def stored_sizes(atlas: Atlas) -> dict[str, int]:
    """Size of every file of the store; for plain http, which can't list, what the manifest says."""
    if isinstance(atlas.path, Path):
        return sizes_of(atlas.path, files_of(atlas.path))
    listed = atlas.path.listed()
    if listed is not None:
        return {name: fact["size"] for name, fact in listed.items()}
    known = manifest.found_beside(atlas.path, atlas.uuid)[1]
    return {name: fact["size"] for name, fact in known[-1]["files"].items()} if known else {}


def in_words(n_bytes: float) -> str:
    """Such as "1.2 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.2f} TB"


def rows_for_people(elements: list[StoredElement]) -> list[tuple[str, object]]:
    """Matrices and arrays one by one, the columns of obs and var together."""
    rows: list[tuple[str, object]] = []
    for one in elements:
        if not one.name.startswith(("obs/", "var/", "uns/")):
            size = " x ".join(f"{n:,}" for n in one.shape)
            rows.append(
                (one.name, f"{size}  {one.dtype}  {one.compression or 'as it is'}  {in_words(one.stored_bytes)}")
            )
    for table in ("obs", "var"):
        mine = [one for one in elements if one.name.startswith(f"{table}/")]
        taken = in_words(sum(one.stored_bytes for one in mine))
        rows.append((table, f"{', '.join(one.name[4:] for one in mine if one.name[4:] != '_index')}  {taken}"))
    rows.append(("in all", in_words(sum(one.stored_bytes for one in elements))))
    return rows


def journal_state(atlas: Atlas) -> dict[str, Any]:
    """What the label journal is like now."""
    journal = atlas.labels
    entries = journal.entries
    return {
        "folder": None if journal.is_homeless else str(journal.folder),
        "entries": len(entries),
        "can_undo": journal.n_undo,
        "can_redo": journal.n_redo,
        "last": entries[-1].time if entries else None,
        "by": sorted({entry.user for entry in entries}),
        "torn": journal.torn,
    }
