"""Labels into a copy of the user's own file, in its own row order."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import write_elem
from jaxtyping import Int, Shaped
from numpy import ndarray

from livelatent.atlas.columns import codes_of, is_none
from livelatent.atlas.elements import is_storable, quiet_anndata, read_element, write_element
from livelatent.atlas.layout import places
from livelatent.atlas.sources.fingerprints import fingerprint_of
from livelatent.atomic import fresh_file, fresh_folder, need_space, write_csv
from livelatent.errors import ColumnError, LabelError, SourceError, StoreExistsError
from livelatent.paths import local_path

MARK = {"livelatent": "labels"}


@dataclass(frozen=True)
class LabelledCells:
    """Every cell of an atlas: where it comes from, what its source calls it, its label now."""

    source: Shaped[ndarray, " cell"]
    source_row: Int[ndarray, " cell"]
    name: Shaped[ndarray, " cell"]
    label: Shaped[ndarray, " cell"]
    """None where it has none."""
    sources: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Exported:
    """What was written, and how its cells were found."""

    path: Path
    n_cells: int
    """Cells of the file."""
    n_labelled: int
    matched_by: str
    """`"row"`, `"identity"` (the file is an export of a store) or `"name"`."""
    note: str
    """Why it was not the row, where it was not; else empty."""


def export_labels(
    cells: LabelledCells,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None,
    *,
    home: Path,
    column: str,
    overwrite: bool,
) -> Exported:
    """Write the labels of the cells of one source into a copy of it; the source is never touched.

    Parameters
    ----------
    home
        Where the copy is written when `out` is None.

    Raises
    ------
    SourceError
        If it is none of the atlas's sources, or has changed so that its cells can't be told.
    ColumnError
        If it has a column of that name which no export of ours wrote.
    StoreExistsError
        If something stands where the copy is to be written, and `overwrite` is not given.
    """
    file = local_path(path, SourceError)
    target = default_target(file, home) if out is None else local_path(out, SourceError)
    if not is_storable(column):
        raise ColumnError(f"an obs column's name has no slash, and is none of Zarr's; got {column!r}.")
    if target.resolve() == file.resolve():
        raise StoreExistsError(f"{target} is the file itself, which is never changed. Name another place for the copy.")
    if target.exists() and not overwrite:
        raise StoreExistsError(f"{target} exists. Pass overwrite=True to replace it, or name another place.")
    names, identity, columns = cells_of(file)
    is_table = target.suffix == ".csv"
    if column in columns and not is_table and not columns[column]:
        raise ColumnError(
            f'{file}: obs column "{column}" came with the file and is not written over. Pass another name.'
        )
    row, matched_by, note = rows_in_atlas(cells, file, names, identity)
    label = np.full(len(names), None, dtype=object)
    label[row >= 0] = cells.label[row[row >= 0]]
    if is_table:
        write_csv(target, ["cell", column], zip(names, ("" if one is None else one for one in label), strict=True))
    else:
        write_copy(file, target, column, label)
    return Exported(target, len(names), int((~is_none(label)).sum()), matched_by, note)


def default_target(file: Path, home: Path) -> Path:
    """`mine.labelled.h5ad` for `mine.h5ad`, at home: a source may lie where many read and nobody should write."""
    return home / f"{file.stem}.labelled{file.suffix}"


def cells_of(file: Path) -> tuple[Shaped[ndarray, " cell"], "pd.DataFrame | None", dict[str, bool]]:
    """The names of a file's cells, their identity where the file is an export of a store, and its obs columns.

    Of each column, whether an export of ours wrote it.
    """
    try:
        with opened(file) as root:
            obs = root["obs"]
            if isinstance(obs, h5py.Dataset):
                raise SourceError(f"{file}: its obs is of AnnData before 0.7. Read and write it with anndata once.")
            with quiet_anndata():
                index = np.asarray(read_element(obs[obs.attrs["_index"]]), dtype=object)
                found = {
                    str(name): dict(obs[name].attrs).get("livelatent") == "labels" for name in obs.attrs["column-order"]
                }
                identity = None
                if {"store_uuid", "source", "source_row"} <= found.keys():
                    parts = {name: np.asarray(read_element(obs[name])) for name in ("source", "source_row")}
                    identity = pd.DataFrame(parts)
        return np.array([str(name) for name in index], dtype=object), identity, found
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"{file} does not exist. Name the file that was ingested.") from None
    except Exception as error:
        raise SourceError(f"{file} can't be read as AnnData ({type(error).__name__}: {error}).") from error


def opened(file: Path) -> Any:
    """The root group of an `.h5ad` file or a Zarr folder."""
    if not file.exists():
        raise FileNotFoundError(file)
    return zarr_root(file, "r") if file.is_dir() else h5py.File(file, "r")


class zarr_root:
    """A Zarr group as a context, as h5py's files are."""

    def __init__(self, folder: Path, mode: Any) -> None:
        self.group = zarr.open_group(folder, mode=mode)

    def __enter__(self) -> "zarr.Group":
        return self.group

    def __exit__(self, *_: object) -> None: ...


def rows_in_atlas(
    cells: LabelledCells,
    file: Path,
    names: Shaped[ndarray, " cell"],
    identity: "pd.DataFrame | None",
) -> tuple[Int[ndarray, " cell"], str, str]:
    """The atlas's row of each cell of the file (-1 where it has none), how it was found, and why so."""
    if identity is not None:
        wanted = [f"{name}\0{row}" for name, row in zip(identity["source"], identity["source_row"], strict=True)]
        held = [f"{name}\0{row}" for name, row in zip(cells.source, cells.source_row, strict=True)]
        return places(wanted, held), "identity", ""
    source = source_named(cells, file)
    mine = np.flatnonzero(cells.source == source)
    told = next((one for one in cells.sources if one.get("name") == source), None)
    now = fingerprint_of(file)
    if told is not None and told.get("sha256") == now.sha256 and told.get("size") == now.size:
        row = np.full(len(names), -1, np.int64)
        inside = mine[cells.source_row[mine] < len(names)]
        row[cells.source_row[inside]] = inside
        return row, "row", ""
    why = "has changed since it was ingested" if told is not None else "is not what the store was made of directly"
    here = cells.name[mine].astype(str)
    if len(set(here)) != len(here) or len(set(names)) != len(names):
        raise SourceError(
            f"{file} {why}, and its cells' names are not unique, so they can't be told apart. Ingest it again, or "
            "export into the file as it was."
        )
    found = places(names, here)
    if not (found >= 0).any():
        raise SourceError(f"{file} {why}, and none of its cells' names is in the atlas. Is it another file?")
    row = np.where(found >= 0, mine[found], -1)
    return (
        row,
        "name",
        f"{file.name} {why}: its cells were matched by name, {int((row >= 0).sum()):,} of {len(names):,}.",
    )


def source_named(cells: LabelledCells, file: Path) -> str:
    """Which of the atlas's sources this file is: the one whose name its path ends in."""
    known = sorted(set(cells.source))
    whole = file.resolve().as_posix()
    found = [name for name in known if whole.endswith(f"/{name}")]
    if not found and len(known) == 1:
        return str(known[0])
    if not found:
        raise SourceError(
            f"{file} is none of the atlas's sources ({', '.join(map(str, known[:5]))}). Name one of them, under the "
            "name that it had."
        )
    return str(max(found, key=len))


def write_copy(file: Path, target: Path, column: str, label: Shaped[ndarray, " cell"]) -> None:
    """Copy the file byte by byte, then add the column; whole or absent."""
    kinds = sorted({str(one) for one in label if one is not None})
    values = pd.Categorical.from_codes(codes_of(label, tuple(kinds)), categories=pd.Index(kinds, dtype=object))
    if file.is_dir():
        size = sum(one.stat().st_size for one in file.rglob("*") if one.is_file())
        need_space(target, size, f"a copy of {file}")
        with fresh_folder(target) as aside:
            shutil.copytree(file, aside, dirs_exist_ok=True)
            root = zarr_root(aside, "r+").group
            was_consolidated = root.metadata.consolidated_metadata is not None
            add_column(zarr.open_group(aside, mode="r+", use_consolidated=False)["obs"], column, values)
            if was_consolidated:
                consolidate_again(aside, root.metadata.zarr_format)
    else:
        need_space(target, file.stat().st_size, f"a copy of {file}")
        with fresh_file(target) as aside_file:
            shutil.copyfile(file, aside_file)
            with h5py.File(aside_file, "r+") as copy:
                add_column(copy["obs"], column, values)


def add_column(obs: Any, column: str, values: pd.Categorical) -> None:
    """Write the column and name it in obs's list."""
    order = [str(name) for name in obs.attrs["column-order"]]
    if column in order:
        del obs[column]
    elif column in obs:
        raise LabelError(f"obs holds something named {column!r} that is no column. Pass another name.")
    if isinstance(obs, zarr.Group) and obs.metadata.zarr_format == 2:
        with quiet_anndata():
            write_elem(obs, column, values)
    else:
        write_element(obs, column, values)
    obs[column].attrs.update(MARK)
    order = [*(name for name in order if name != column), column]
    is_h5 = isinstance(obs, h5py.Group)
    obs.attrs["column-order"] = np.array(order, dtype=h5py.string_dtype()) if is_h5 else order


def consolidate_again(folder: Path, zarr_format: Literal[2, 3]) -> None:
    """Renew the metadata that readers look at."""
    import warnings

    with warnings.catch_warnings():
        # Zarr says that v3's consolidated metadata is not in its standard yet; the folder had it before.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(folder, zarr_format=zarr_format)
