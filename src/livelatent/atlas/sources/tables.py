"""Obs and var of an AnnData, of any of its layouts, read column by column."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from livelatent.atlas.sources.faults import Unfit, check_names
from livelatent.atlas.sources.fields import (
    as_text,
    check_column,
    column_of_array,
    column_values,
    legacy_kinds,
    length_of,
    text_array,
)
from livelatent.atlas.sources.matrices import Container, encoding, is_array, is_group
from livelatent.errors import ColumnError, SourceError


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
