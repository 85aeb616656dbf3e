"""The obs table of a store, joined from its sources one column at a time, so that one column is in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from livelatent.atlas.elements import text_categories
from livelatent.atlas.layout import IDENTITY, KEPT, N_GENES, RESERVED, SPLIT, TOTAL
from livelatent.atlas.sources.source import Source
from livelatent.errors import ColumnError, SourceError

REPLACED = (*IDENTITY, SPLIT, TOTAL, N_GENES)
"""Columns that every ingest writes anew; the rest of a store of ours (labels, masks) stays what it is."""


@dataclass(frozen=True)
class JoinedObs:
    """Which column of which source each of the store's columns is made of."""

    sources: tuple[Source, ...]
    columns: dict[str, tuple[str | None, ...]]
    """The store's column → each source's own name for it, None where it has none."""

    @property
    def n_cells(self) -> int:
        """Cells of all sources."""
        return sum(source.n_cells for source in self.sources)

    def column(self, name: str) -> "pd.Series[Any]":
        """One column, all cells in source order."""
        parts = [
            None if own is None else source.obs.column(own)
            for source, own in zip(self.sources, self.columns[name], strict=True)
        ]
        if name == KEPT:
            # Cells that no filter has seen are kept.
            parts = [
                pd.Series(np.ones(source.n_cells, bool)) if part is None else part
                for source, part in zip(self.sources, parts, strict=True)
            ]
        return joined_column(parts, [source.n_cells for source in self.sources])

    def identity(self) -> tuple[pd.Categorical, ndarray]:
        """Original source and row of every cell; a store of ours, or its export, passes on what it knows."""
        names, rows = [], []
        for source in self.sources:
            if keeps_identity(source):
                names.append(text(source.obs.column("source")))
                rows.append(source.obs.column("source_row").to_numpy(np.int64))
            else:
                names.append(pd.Series(one_category(source.name, source.n_cells)))
                rows.append(np.arange(source.n_cells))
        joined = joined_column(list(names), [source.n_cells for source in self.sources])
        return joined.array if isinstance(joined.dtype, pd.CategoricalDtype) else pd.Categorical(
            joined
        ), np.concatenate(rows)


def check_identity(joined: JoinedObs) -> None:
    """Raise where two cells have one identity: labels given to the one would be the other's too.

    Raises
    ------
    SourceError
        If a cell is there twice (a store and its export), or two stores were made of different files of one name.
    """
    if not any(keeps_identity(source) for source in joined.sources):
        return  # each has a name of its own
    source, row = joined.identity()
    order = np.lexsort((row, source.codes))
    same = (np.diff(source.codes[order]) == 0) & (np.diff(row[order]) == 0)
    if not same.any():
        return
    one, other = sorted(order[int(np.argmax(same)) :][:2].tolist())
    ends = np.cumsum([each.n_cells for each in joined.sources])
    paths = [str(joined.sources[int(np.searchsorted(ends, cell, side="right"))].path) for cell in (one, other)]
    where = paths[0] if paths[0] == paths[1] else " and ".join(paths)
    raise SourceError(
        f"{where}: {int(same.sum())} cells are there twice by their identity (first: row {row[one]} of "
        f"{source[one]!r}). Leave one of the two out; if they are cells of different files of that name, rename one "
        "file and ingest it again."
    )


def one_category(name: str, n_cells: int) -> pd.Categorical:
    """The same text for every cell."""
    return pd.Categorical.from_codes(np.zeros(n_cells, np.int8), categories=pd.Index([name], dtype=object))


def joined_obs(sources: Sequence[Source]) -> JoinedObs:
    """Every column of every source; one with a name that livelatent needs is kept as `NAME_original`."""
    columns: dict[str, list[str | None]] = {}
    for number, source in enumerate(sources):
        own = [name for name in source.obs.columns if not (keeps_identity(source) and name in REPLACED)]
        renamed = own if keeps_identity(source) else kept_names(own)
        for name, kept in zip(own, renamed, strict=True):
            columns.setdefault(kept, [None] * len(sources))[number] = name
    return JoinedObs(tuple(sources), {name: tuple(parts) for name, parts in columns.items()})


def keeps_identity(source: Source) -> bool:
    """Whether the source is a store of ours, or its export: its cells know where they come from."""
    return source.livelatent is not None and {"source", "source_row"} <= set(source.obs.columns)


def kept_names(columns: Sequence[str]) -> list[str]:
    """Column names, those that livelatent needs changed to `NAME_original` (`NAME_original_2`, ...)."""
    taken, names = set(columns), []
    for column in columns:
        name = column
        if column in RESERVED:
            name, n = f"{column}_original", 2
            while name in taken:
                name, n = f"{column}_original_{n}", n + 1
            taken.add(name)
        names.append(name)
    return names


def joined_column(parts: "Sequence[pd.Series[Any] | None]", sizes: Sequence[int]) -> "pd.Series[Any]":
    """Parts behind one another, None being missing values; categories are united, other mixed types become text."""
    present = [part for part in parts if part is not None]
    whole = len(present) == len(parts)
    if len(parts) == 1 and whole:
        return present[0]
    if all(isinstance(part.dtype, pd.CategoricalDtype) for part in present):
        return joined_categories(parts, sizes)
    whole = whole and not any(bool(part.isna().any()) for part in present)
    if all(pd.api.types.is_bool_dtype(part.dtype) for part in present):
        kind = "bool" if whole else "boolean"
    elif all(pd.api.types.is_numeric_dtype(part.dtype) for part in present) and fit_together(present):
        is_whole = all(pd.api.types.is_integer_dtype(part.dtype) for part in present)
        kind = "int64" if is_whole and whole else "Int64" if is_whole else "float64"
    else:
        return joined_categories([None if part is None else text(part) for part in parts], sizes)
    filled = [
        pd.Series(pd.NA, index=range(size), dtype=object) if part is None else part
        for part, size in zip(parts, sizes, strict=True)
    ]
    if kind == "float64":
        filled = [pd.to_numeric(part, errors="coerce") for part in filled]
    return pd.concat([part.astype(pd.api.types.pandas_dtype(kind)) for part in filled], ignore_index=True)


def fit_together(parts: "Sequence[pd.Series[Any]]") -> bool:
    """Whether int64, or float64 where some are no whole numbers, holds every number; else they are kept as text."""
    whole = [part.dropna() for part in parts if pd.api.types.is_integer_dtype(part.dtype)]
    limit = 2**63 if len(whole) == len(parts) else 2**53
    return all(-limit <= int(part.min()) and int(part.max()) < limit for part in whole if part.size)


def joined_categories(parts: "Sequence[pd.Series[Any] | None]", sizes: Sequence[int]) -> "pd.Series[Any]":
    """Categories in the order of their appearance over the parts; their order counts where all parts agree on it."""
    present = [part for part in parts if part is not None]
    same = all(part.dtype == present[0].dtype for part in present)
    if same:
        names = present[0].cat.categories
    else:
        names = pd.Index(list(dict.fromkeys(str(k) for part in present for k in part.cat.categories)), dtype=object)
    codes = []
    for part, size in zip(parts, sizes, strict=True):
        if part is None:
            codes.append(np.full(size, -1, np.int32))
            continue
        own = part.cat.categories if same else pd.Index([str(k) for k in part.cat.categories], dtype=object)
        places = np.append(names.get_indexer(own), -1).astype(np.int32)
        codes.append(places[np.asarray(part.cat.codes)])
    ordered = same and bool(present[0].cat.ordered)
    return pd.Series(pd.Categorical.from_codes(np.concatenate(codes), categories=names, ordered=ordered))


def text(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column as categories of text, sorted; missing values stay missing."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return pd.Series(text_categories(column))


def cell_names(
    barcodes: ndarray, source: pd.Categorical, source_row: ndarray, taken: ndarray | None = None
) -> tuple[ndarray, bool]:
    """Unique names: `source:barcode` where barcodes clash, then with the row added; and whether any was changed.

    Parameters
    ----------
    taken
        Names that a store has given already; they stay.
    """
    n_taken = 0 if taken is None else taken.size
    names = barcodes if taken is None else np.concatenate([taken, barcodes])
    if pd.Index(names, dtype=object).is_unique:
        return barcodes, False
    names, mine = names.copy(), np.arange(n_taken, names.size)
    for step in range(3):
        clash = mine[pd.Index(names, dtype=object).duplicated(keep=False)[n_taken:]]
        for i in clash:
            own = i - n_taken
            names[i] = (
                f"{source[own]}:{names[i]}" if step == 0 else f"{names[i]}:{source_row[own] if step == 1 else own}"
            )
    return names[n_taken:], True


def resolved_column(joined: JoinedObs, column: str | None, role: str) -> str:
    """The store's name of a label or batch column; "" where none was named.

    Raises
    ------
    ColumnError
        If a source has no such column, or nothing is in it.
    """
    if column is None:
        return ""
    if column == "source" and not all("source" in source.obs.columns for source in joined.sources):
        return column
    for source in joined.sources:
        if column not in source.obs.columns:
            raise ColumnError(
                f'{source.path}: obs has no column "{column}" ({role}="{column}"). It has: '
                f"{', '.join(map(str, source.obs.columns)) or 'none'}."
            )
    name = f"{column}_original" if column in RESERVED and f"{column}_original" in joined.columns else column
    if name not in joined.columns:
        return name  # one of ours, such as `source` of a store's export
    if not has_value(joined.column(name)):
        files = ", ".join(str(source.path) for source in joined.sources)
        raise ColumnError(f'{files}: every value of obs column "{column}" is missing; name another as `{role}`.')
    return name


def has_value(column: "pd.Series[Any]") -> bool:
    """Whether any value is neither missing nor empty text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kinds = np.append(np.array([str(kind) != "" for kind in column.cat.categories], bool), False)
        return bool(kinds[np.asarray(column.cat.codes)].any())
    found = column[column.notna()]
    return bool((found.astype(object).map(str) != "").any())
