"""Columns of obs as text and codes."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, Int32, Shaped
from numpy import ndarray

from livelatent.atlas.layout import places
from livelatent.errors import ColumnError


@dataclass(frozen=True)
class ObsColumn:
    """One column of obs: codes of names, or numbers."""

    values: Shaped[ndarray, " cell"]
    """Codes, -1 where the value is missing or empty text; or numbers and truth values, NaN where missing."""
    names: tuple[str, ...] | None
    """What the codes mean; None for numbers."""


def obs_column(column: "pd.Series[Any]") -> ObsColumn:
    """Categories and text as codes, numbers as they are."""
    kind: Any = column.dtype
    is_number = pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)
    if isinstance(kind, pd.CategoricalDtype) or not is_number:
        return ObsColumn(*text_codes(column))
    if isinstance(kind, np.dtype):
        return ObsColumn(column.to_numpy(), None)
    if column.hasnans:
        return ObsColumn(column.to_numpy(np.float64, na_value=np.nan), None)
    return ObsColumn(column.to_numpy(kind.numpy_dtype), None)


def text_codes(column: "pd.Series[Any]") -> tuple[Int[ndarray, " cell"], tuple[str, ...]]:
    """Every value as the place of its text among names, -1 for one that is missing or empty; no text per cell is made.

    Names of categories come in their own order, those of no cell too; all others are sorted.
    """
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    codes, kinds = (column.cat.codes, column.cat.categories) if is_categorical else pd.factorize(column)
    text = [str(kind) for kind in pd.Index(kinds)]
    distinct = dict.fromkeys(name for name in text if name)
    names = tuple(distinct) if is_categorical else tuple(sorted(distinct))
    return translated(np.asarray(codes), text, names, np.min_scalar_type(-max(len(names), 1))), names


def translated(
    codes: Int[ndarray, " cell"], names: Sequence[str], others: Sequence[str], kind: "np.dtype[Any] | type[np.int32]"
) -> Int[ndarray, " cell"]:
    """Codes of `names` as codes of `others`, -1 where a name is none of them."""
    place = {name: code for code, name in enumerate(others)}
    table: ndarray = np.array([*(place.get(name, -1) for name in names), -1], kind)
    return np.asarray(table[codes])


def used_names(codes: Int[ndarray, " cell"], names: Sequence[str]) -> set[str]:
    """The names that some code stands for."""
    is_used = np.zeros(len(names) + 1, bool)  # -1 marks the last
    is_used[codes] = True
    return {name for name, used in zip(names, is_used, strict=False) if used}


def named(codes: Int[ndarray, " cell"], names: Sequence[str]) -> Shaped[ndarray, " cell"]:
    """The names that codes stand for, None for -1."""
    return np.asarray(np.array([*names, None], dtype=object)[codes])


def no_column(place: object, where: str, name: str, names: Iterable[str]) -> ColumnError:
    """What to raise where a table, or `obsm`, has no element of a name: those it has, the likeliest first."""
    held = list(names)
    by_case = {other.casefold(): other for other in held}
    near = [by_case[match] for match in difflib.get_close_matches(name.casefold(), by_case, n=3)]
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ColumnError(f'{place}: {where} has no "{name}".{meant} It has: {", ".join(held) or "nothing"}.')


def text_or_none(column: "pd.Series[Any]") -> Shaped[ndarray, " cell"]:
    """Values as text; missing and empty ones None."""
    codes, names = text_codes(column)
    return named(codes, names)


def codes_of(values: Shaped[ndarray, " cell"], names: tuple[str, ...]) -> Int32[ndarray, " cell"]:
    """The place of each value among the names, -1 where it is not one of them."""
    return places(values, names).astype(np.int32)


def is_none(values: Shaped[ndarray, " cell"]) -> Bool[ndarray, " cell"]:
    """Which values are None."""
    return np.array([value is None for value in values], dtype=bool)
