"""Elements of a store (columns, obsm arrays): written aside, moved in, and made visible last."""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from zarr.codecs import ZstdCodec

from livelatent.atomic import write_bytes


@contextlib.contextmanager
def quiet_anndata() -> Iterator[None]:
    """Without a warning that is none of ours: anndata 0.13 asks pandas 3.1 for an option that is about to go."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'future.infer_string' option")
        yield


def write_element(group: Any, name: str, value: Any) -> None:
    """Write a data frame, array or dict as AnnData does; in Zarr with a checksum on every chunk."""
    from anndata.io import write_elem

    with quiet_anndata():
        has_checksum = isinstance(group, zarr.Group) and not isinstance(value, dict)
        codecs = {"compressors": [ZstdCodec(level=3, checksum=True)]} if has_checksum else {}
        write_elem(group, name, value, dataset_kwargs=codecs)


def read_element(group: Any) -> Any:
    """Read what AnnData's writer (or ours) wrote there."""
    from anndata.io import read_elem

    with quiet_anndata():
        return read_elem(group)


def plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame in types that every AnnData reader knows.

    Text becomes categories, other objects become text first; the index becomes plain strings, since a pandas 3
    string index would be written as a nullable array that older readers refuse.
    """
    columns = {str(name): plain_column(frame[name]) for name in frame.columns}
    index = pd.Index([str(name) for name in frame.index], dtype=object)
    return pd.DataFrame(columns, index=index)


def plain_column(column: "pd.Series[Any]") -> Any:
    """One column in a type that every AnnData reader knows: numbers as they are, all else as categories of text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kinds = column.cat.categories
        if not pd.api.types.is_numeric_dtype(kinds.dtype):
            kinds = pd.Index([str(kind) for kind in kinds], dtype=object)
        codes = np.asarray(column.cat.codes)
        return pd.Categorical.from_codes(codes, categories=kinds, ordered=bool(column.cat.ordered))
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
    return text_categories(column)


def text_categories(column: "pd.Series[Any]") -> pd.Categorical:
    """Values as text, sorted; missing ones kept missing."""
    codes, found = pd.factorize(column, sort=False)
    # Two values may read the same: 1 and "1".
    text = np.array([str(value) for value in found], dtype=object)
    kinds = pd.Index(sorted(set(text)), dtype=object)
    places = np.append(kinds.get_indexer(pd.Index(text, dtype=object)), -1)
    return pd.Categorical.from_codes(places[codes], categories=kinds)


def is_storable(name: str) -> bool:
    """Whether an element can bear this name: Zarr makes a folder of it, beside files and an index of its own."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return False
    return 0 < length <= 255 and name not in (".", "..", "zarr.json", "_index") and not set(name) & set("/\0")


def files_of(store: Path) -> Iterator[str]:
    """Every file of the store, as a relative path; always in the same order."""
    for root, folders, names in os.walk(store):
        folders.sort()
        for name in sorted(names):
            yield (Path(root) / name).relative_to(store).as_posix()


def metadata_files(store: Path) -> Iterator[str]:
    """Every `zarr.json` below the store but its own, as a relative path; chunk folders are not walked."""
    for root, folders, names in os.walk(store):
        if "zarr.json" in names:
            if Path(root) != store:
                yield (Path(root) / "zarr.json").relative_to(store).as_posix()
            if json.loads((Path(root) / "zarr.json").read_bytes())["node_type"] == "array":
                folders.clear()
        folders.sort()


def consolidated(store: Path, attributes: dict[str, Any] | None = None) -> bytes:
    """The store's own `zarr.json` with all other metadata inlined, which is what plain anndata looks at."""
    found = {file.removesuffix("/zarr.json"): json.loads((store / file).read_bytes()) for file in metadata_files(store)}
    root = json.loads((store / "zarr.json").read_bytes())
    if attributes is not None:
        root["attributes"] = attributes
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": found}
    return json.dumps(root, indent=1).encode()


def consolidate(store: Path) -> None:
    """Renew the inlined metadata: the last step of every write, since before it nobody sees what is new."""
    write_bytes(store / "zarr.json", consolidated(store))


def sha256(path: Path) -> str:
    """Hash of one small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
