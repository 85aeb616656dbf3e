"""One column of a table, of any of anndata's layouts: whether it can be carried, and its values."""

from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy import ndarray

from livelatent.atlas.sources.faults import Unfit
from livelatent.atlas.sources.matrices import encoding, is_array, is_group

LONGEST_TEXT = 2**16
"""Bytes a row where text has one length for all."""
NULLABLE = {
    "nullable-integer": pd.arrays.IntegerArray,
    "nullable-boolean": pd.arrays.BooleanArray,
}


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
