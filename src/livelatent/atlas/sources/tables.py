"""Obs and var of an AnnData, of any of its layouts, read column by column."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy import ndarray

from livelatent.atlas.sources.faults import Unfit, check_names
from livelatent.atlas.sources.matrices import Container, encoding, is_array, is_group
from livelatent.errors import ColumnError, SourceError

LONGEST_TEXT = 2**16
"""Bytes a row where text has one length for all."""
NULLABLE = {
    "nullable-integer": pd.arrays.IntegerArray,
    "nullable-boolean": pd.arrays.BooleanArray,
}


@dataclass(frozen=True, kw_only=True)
class AnnDataTable:
    """A data frame in a file: names when asked for, one column at a time."""

    container: Container
    where: str
    n_rows: int
    columns: tuple[str, ...]
    index: str
    """The field or array that holds the names."""
    kinds_in_uns: Mapping[str, str] = field(default_factory=dict)
    """Categories of the oldest layout: column to its place in `uns`."""

    def names(self) -> ndarray:
        """The index as text (an array of `str` objects)."""
        with self.container.opened() as root:
            values = self.read(root, self.index)
        text = values.astype(object).to_numpy()
        missing = np.asarray(values.isna())
        if missing.any():
            raise SourceError(
                f"{self.container.path}: {int(missing.sum())} names of `{self.where}` are missing (first: row "
                f"{int(np.flatnonzero(missing)[0])}). Name them and write the file again."
            )
        return np.array([str(name) for name in text] or [], dtype=object)

    def column(self, name: str) -> "pd.Series[Any]":
        """One column under a plain index, text where older writers left bytes."""
        if name not in self.columns:
            raise ColumnError(f"{self.container.path} has no column {name!r} in `{self.where}`.")
        with self.container.opened() as root:
            return self.read(root, name)

    def read(self, root: Any, name: str) -> "pd.Series[Any]":
        """A column, or the index; a fault in it names it."""
        try:
            table = root[self.where]
            if is_array(table):
                values = column_of_array(table, name, self.n_rows)
            else:
                values = column_values(table, name, self.n_rows)
            if name in self.kinds_in_uns:
                values = legacy_kinds(values, root[self.kinds_in_uns[name]])
        except (Unfit, KeyError, ValueError, TypeError) as error:
            raise SourceError(
                f"{self.container.path}: column {name!r} of `{self.where}` can't be read ({error}). Get the file "
                "again, or leave this column out and write it anew."
            ) from error
        return pd.Series(values, name=name, index=pd.RangeIndex(self.n_rows))

    def frame(self) -> pd.DataFrame:
        """All of it; for var, which does not grow with the cells."""
        columns = {name: self.column(name) for name in self.columns}
        return pd.DataFrame(columns, index=pd.RangeIndex(self.n_rows))


@dataclass(frozen=True)
class NamesOnly:
    """Obs of a source that knows nothing but the names of its cells, read each time they are asked for."""

    container: Container
    where: str
    n_rows: int
    columns: tuple[str, ...] = ()

    def names(self) -> ndarray:
        """The names as text."""
        with self.container.opened() as root:
            return text_array(root[self.where], self.n_rows)

    def column(self, name: str) -> "pd.Series[Any]":
        """None has any."""
        raise ColumnError(f"{self.container.path} has names of cells only; there is no column {name!r}.")


def table_at(container: Container, root: Any, where: str) -> tuple[AnnDataTable, list[str]]:
    """The table, and in words the columns of it that can't be carried along.

    Raises
    ------
    SourceError
        If it is none, or has columns that a store could not name.
    """
    path: Path = container.path
    if where not in root:
        raise SourceError(f"{path} is no AnnData: it has no group `{where}`. Open it in anndata and write it again.")
    table = root[where]
    if is_array(table):
        return table_of_records(container, root, where), []
    index, columns = named_columns(path, where, table)
    check_names(path, where, columns)
    n_rows = length_of(table[index]) if index in table else None
    if n_rows is None:
        raise SourceError(f"{path}: the names of `{where}` are missing or no list. Write the file again with anndata.")
    kept, left = [], []
    for name in columns:
        try:
            check_column(table, name, n_rows)
            kept.append(name)
        except Unfit as error:
            left.append(f"{where}/{name} ({error})")
    return AnnDataTable(container=container, where=where, n_rows=n_rows, columns=tuple(kept), index=index), left


def table_of_records(container: Container, root: Any, where: str) -> AnnDataTable:
    """A table that anndata 0.6 wrote: one array of records, categories in `uns`."""
    array = root[where]
    fields = tuple(array.dtype.names or ())
    if not fields or len(array.shape) != 1:
        raise SourceError(f"{container.path}: `{where}` is an array, a table was wanted. Write it again with anndata.")
    index = next((name for name in ("_index", "index") if name in fields), fields[0])
    columns = tuple(name for name in fields if name != index)
    check_names(container.path, where, columns)
    places = {name: f"uns/{name}_categories" for name in columns if array.dtype[name].kind in "iu"}
    return AnnDataTable(
        container=container,
        where=where,
        n_rows=int(array.shape[0]),
        columns=columns,
        index=index,
        kinds_in_uns={name: place for name, place in places.items() if place in root and is_array(root[place])},
    )


def named_columns(path: Path, where: str, table: Any) -> tuple[str, list[str]]:
    """The index's name and the columns in their order, as the group says."""
    if not is_group(table):
        raise SourceError(f"{path}: `{where}` is no table. Write the file again with anndata.")
    try:
        if encoding(table) not in ("dataframe", ""):
            raise Unfit(f"is of the kind {encoding(table)}")
        index, order = as_text(table.attrs["_index"]), table.attrs["column-order"]
    except (KeyError, Unfit) as error:
        raise SourceError(f"{path}: `{where}` is no table ({error}). Write the file again with anndata.") from error
    if np.ndim(order) != 1:
        raise SourceError(f"{path}: the list of columns of `{where}` is none. Write the file again with anndata.")
    columns = [as_text(name) for name in order]
    if len(set(columns)) != len(columns):
        raise SourceError(f"{path}: `{where}` names a column twice. Write the file again with anndata.")
    if not index or "/" in index or index in (".", ".."):
        raise SourceError(f"{path}: the names of `{where}` lie at {index!r}, which is no place in it.")
    return index, [name for name in columns if name != index]


def as_text(value: Any) -> str:
    """A name as text, whatever wrote it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def length_of(item: Any) -> int | None:
    """Rows of a column, None where it has no such thing."""
    if is_group(item):
        parts = [item[part] for part in ("codes", "values") if part in item]
        return length_of(parts[0]) if parts and is_array(parts[0]) else None
    return int(item.shape[0]) if len(item.shape) == 1 else None


def check_column(table: Any, name: str, n_rows: int) -> None:
    """Raise where a column can't be carried, as far as its description tells."""
    if name not in table:
        raise Unfit("named but absent")
    item = table[name]
    if is_group(item):
        kind = encoding(item)
        if kind not in ("categorical", "nullable-string-array", *NULLABLE):
            raise Unfit(f"is of the kind {kind or 'unmarked'}")
        for part in ("codes", "categories") if kind == "categorical" else ("values", "mask"):
            if part not in item or not (is_array(item[part]) or part == "categories"):
                raise Unfit(f"without its `{part}`")
    elif encoding(item) not in ("array", "string-array", ""):
        raise Unfit(f"is of the kind {encoding(item)}")
    elif item.dtype.kind not in "fiubSUT" and not is_text(item):
        raise Unfit(f"of {item.dtype}")
    if is_array(item) and item.dtype.kind in "SU" and item.dtype.itemsize > LONGEST_TEXT:
        raise Unfit(f"text of {item.dtype.itemsize} bytes a row")
    length = length_of(item)
    if length != n_rows:
        raise Unfit(f"{'no list' if length is None else f'{length} values'} for {n_rows} rows")


def is_text(item: Any) -> bool:
    """Whether an array holds strings of varying length."""
    if isinstance(item, h5py.Dataset):
        return h5py.check_string_dtype(item.dtype) is not None
    return bool(item.dtype.kind in "OTU")


def column_values(table: Any, name: str, n_rows: int) -> Any:
    """One column of a group, as an array that pandas takes."""
    check_column(table, name, n_rows)
    item = table[name]
    if is_array(item):
        if "categories" in item.attrs:
            return first_kinds(table, item, n_rows)
        return array_values(item, n_rows)
    kind = encoding(item)
    if kind == "categorical":
        codes = array_values(item["codes"], n_rows)
        return categorical(codes, item["categories"], bool(item.attrs["ordered"]))
    mask = array_values(item["mask"], n_rows)
    values = array_values(item["values"], n_rows)
    wanted = {"nullable-integer": "iu", "nullable-boolean": "b", "nullable-string-array": "O"}[kind]
    if values.dtype.kind not in wanted or mask.dtype != bool:
        raise Unfit(f"{kind} with values of {values.dtype} and a mask of {mask.dtype}")
    if kind == "nullable-string-array":
        if as_text(item.attrs["na-value"] if "na-value" in item.attrs else "NA") not in ("NA", "NaN"):
            raise Unfit("does not say what a missing value is")
        text = values.astype(object)
        text[mask] = None
        return text
    return NULLABLE[kind](values, mask)


def column_of_array(table: Any, name: str, n_rows: int) -> Any:
    """One field of a table that older versions wrote as one array of records."""
    values = np.asarray(table[name] if isinstance(table, h5py.Dataset) else table[:][name])
    if values.shape != (n_rows,):
        raise Unfit(f"has shape {values.shape} for {n_rows} rows")
    return text_of_bytes(values) if values.dtype.kind in "SO" else values


def array_values(item: Any, n_rows: int) -> ndarray:
    """Numbers as they are, text as `str` objects."""
    if tuple(item.shape) != (n_rows,):
        raise Unfit(f"has shape {tuple(item.shape)} for {n_rows} rows")
    kind = encoding(item)
    if kind not in ("array", "string-array", "") or (kind == "string-array" and not is_text(item)):
        raise Unfit(f"{item.dtype} of the kind {kind}")
    if is_text(item) or item.dtype.kind in "SUT":
        return text_array(item, n_rows)
    values = np.asarray(item[:])
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def text_array(item: Any, n_rows: int) -> ndarray:
    """A list of strings as an array of `str` objects."""
    if tuple(item.shape) != (n_rows,):
        raise Unfit(f"has shape {tuple(item.shape)} for {n_rows} rows")
    return text_of_bytes(np.asarray(item[:]))


def text_of_bytes(values: ndarray) -> ndarray:
    """Bytes as UTF-8 text, all else as it is."""
    found = values.astype(object)
    for i, value in enumerate(found):
        if isinstance(value, bytes):
            found[i] = value.decode()
    return found


def categorical(codes: ndarray, kinds: Any, ordered: bool) -> pd.Categorical:
    """Codes with their categories; `kinds` is an array, or what a nullable array is stored as."""
    if is_group(kinds):
        n_kinds = length_of(kinds) or 0
        check_number_of_kinds(n_kinds, codes.size)
        parts = {part: array_values(kinds[part], n_kinds) for part in ("values", "mask")}
        if parts["mask"].dtype != bool or parts["mask"].any():
            raise Unfit("with a category that is missing")
        categories = parts["values"]
    else:
        n_kinds = int(kinds.shape[0]) if kinds.shape else 0
        check_number_of_kinds(n_kinds, codes.size)
        categories = array_values(kinds, n_kinds)
    if codes.dtype.kind not in "iu":
        raise Unfit(f"with codes of {codes.dtype}")
    index = pd.Index(categories, dtype=object) if categories.dtype == object else pd.Index(categories)
    return pd.Categorical.from_codes(codes.astype(np.int64), categories=index, ordered=ordered)


def check_number_of_kinds(n_kinds: int, n_rows: int) -> None:
    """Raise where more categories are claimed than anything could have made."""
    if n_kinds > n_rows + 1_000_000:
        raise Unfit(f"with {n_kinds} categories for {n_rows} rows")


def first_kinds(table: Any, item: Any, n_rows: int) -> pd.Categorical:
    """Categories as anndata 0.7 kept them: aside, in `__categories`, a reference to them at the codes."""
    place = item.attrs["categories"]
    kinds = table[place] if not isinstance(place, str) else table["__categories"][place.rsplit("/", 1)[-1]]
    if not is_array(kinds):
        raise Unfit("without its categories")
    return categorical(array_values(item, n_rows), kinds, bool(kinds.attrs.get("ordered", False)))


def legacy_kinds(codes: Any, kinds: Any) -> Any:
    """Categories as anndata 0.6 kept them, in `uns`; numbers that are no codes stay numbers."""
    categories = array_values(kinds, int(kinds.shape[0])) if kinds.shape else np.atleast_1d(kinds[()])
    if not ((codes >= -1) & (codes < len(categories))).all():
        return codes
    return categorical(np.asarray(codes), kinds, ordered=False)
